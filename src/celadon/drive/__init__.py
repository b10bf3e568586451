"""The only loop with effects: look, decide, perform. Start with `driver`."""
