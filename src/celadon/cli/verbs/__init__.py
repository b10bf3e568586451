"""One file a verb, each with `async def run(call) -> Result`. What several share is one folder up."""
