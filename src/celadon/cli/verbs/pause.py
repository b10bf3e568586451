"""`celadon pause`: writes the wish; the driver holds at its next safe point."""

from celadon.cli.call import Call
from celadon.cli.output import Result


async def run(call: Call) -> Result:
    async with call.connected() as connected:
        intent = await connected.app.pause()
        journal = (await connected.app.journal(intent.rollout.number)).journal
        number, steps = intent.rollout.number, len(intent.rollout.steps)
        step = min(journal.steps_done + 1, steps)
        call.output.data(f"rollout {number} holds at its next safe point (step {step} of {steps})")
        call.output.say("hint: go on: celadon resume · go back: celadon abort")
        keys = {"rollout": number, "step": step}
        return Result(keys=keys, next=("celadon resume", "celadon abort"))
