"""What schemathesis cannot guess: the model that is served, and bodies that a slow machine can answer."""

import os

import schemathesis


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict) or not {"model", "prompt"} & set(body):
        return body
    short = {"model": os.environ["MODEL"], "max_output_tokens": 4, "tools": None, "tool_choice": None, "text": None}
    if "messages" in body or "prompt" in body:
        short.update({"max_tokens": 4, "max_completion_tokens": None, "n_predict": None, "n": 1, "best_of": None})
    return {**body, **short, **({"input": "Hi."} if "input" in body else {})}
