"""Reading a log from an application: search, follow, check, hand to tables; what `tallystick.Client` is made of."""
