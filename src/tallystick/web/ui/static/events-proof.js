// Events checked by the visitor's own browser: one from its drawer, or all rows of a page. See proof.js.
const address = document.querySelector("script[data-proof]").dataset.proof;
const AT_ONCE = 4;
// Within somebody else's page the session is in the address, and no cookie goes along.
const session = /^\/embed\/(vws_\w+)\//.exec(location.pathname)?.[1];
const headers = session ? { Authorization: `Bearer ${session}` } : {};

// The key this browser has seen before on the Verify page is pinned; otherwise the one that comes with the evidence is used.
function pinned(origin) {
  try { return JSON.parse(localStorage.getItem(`tallystick-checkpoint ${origin}`))?.key ?? ""; } catch { return ""; }
}

async function check(id) {
  const { Key, canHash, readReceipt, verifyReceipt } = await import(address);
  if (!canHash()) throw new Error("browsers check signatures on https and on localhost only");
  const answer = await fetch(`/v1/events/${encodeURIComponent(id)}/evidence`, { headers });
  if (!answer.ok) throw new Error((await answer.json()).detail);
  const { line, receipt, keys } = await answer.json();
  if (JSON.parse(line).event.id !== id) throw new Error("the server sent the proof of another event");
  const known = pinned(readReceipt(receipt).checkpoint.origin);
  const parsed = (texts) => Promise.all(texts.filter(Boolean).map((text) => Key.parse(text)));
  return verifyReceipt(receipt, { line, keys: await parsed([known]), named: await parsed(keys) });
}

function sentence(report) {
  if (report.violated.length) return `✕ Violated: ${report.violated.join("; ")}`;
  if (report.unchecked) return `? Not checked: ${report.unchecked}`;
  return `✓ Checked by this browser: ${report.proven.join("; ")}.${report.notProven.length ? ` Not proven: ${report.notProven.join("; ")}.` : ""}`;
}

function mark(row, report) {
  const cell = row.querySelector(".proof");
  if (!cell) return;
  const good = !report.violated.length && !report.unchecked;
  cell.textContent = good ? "✓ checked here" : "✕ broken";
  cell.classList.toggle("bad-word", !good);
  cell.title = sentence(report);
}

async function checkPage(button, words) {
  const rows = [...document.querySelectorAll("#rows > tr[id^='e-']")];
  const wrong = [];
  let done = 0;
  const next = rows.values();
  const worker = async () => {
    for (const row of next) {
      const report = await check(row.id.slice(2)).catch((error) => ({ violated: [], proven: [], notProven: [], unchecked: error.message }));
      mark(row, report);
      if (report.violated.length || report.unchecked) wrong.push(`#${row.dataset.position}`);
      done += 1;
      words.textContent = `${done} of ${rows.length} checked`;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  words.textContent = wrong.length
    ? `✕ ${wrong.length} of ${rows.length} could not be proven: ${wrong.slice(0, 5).join(", ")}`
    : `✓ All ${rows.length} events of this page are in the signed log, unchanged; checked by this browser`;
}

document.addEventListener("click", async (click) => {
  const button = click.target.closest("[data-check-event], [data-check-page]");
  if (!button) return;
  const words = button.parentElement.querySelector("[role=status]");
  button.disabled = true;
  try {
    if (button.hasAttribute("data-check-page")) await checkPage(button, words);
    else words.textContent = sentence(await check(button.dataset.checkEvent));
  } catch (error) {
    words.textContent = `? Not checked: ${error.message}`;
  } finally {
    button.disabled = false;
  }
});
