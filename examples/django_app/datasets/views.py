"""A view with an act that has a name of its own."""

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from tallystick import Target
from tallystick.django import record

from .models import Dataset


@csrf_exempt  # an API for programs
@require_POST
def publish(request: HttpRequest, dataset_id: int) -> JsonResponse:
    """Make a dataset public: the change of the row is told by itself, why it was made is told here."""
    if not request.user.is_authenticated:
        raise PermissionDenied
    with transaction.atomic():
        dataset = get_object_or_404(Dataset.objects.select_for_update(), pk=dataset_id)
        dataset.is_public = True
        dataset.save(update_fields=["is_public"])
        record("dataset.publish", target=Target("dataset", str(dataset.pk), dataset.name))
    return JsonResponse({"id": dataset.pk, "is_public": True})
