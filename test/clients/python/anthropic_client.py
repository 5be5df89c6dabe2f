"""What people do with Anthropic's Python SDK, against the gateway at BASE_URL with the real local model."""
import os
from anthropic import Anthropic, NotFoundError

client = Anthropic(base_url=os.environ["BASE_URL"], api_key="none", max_retries=0)
model = os.environ["MODEL"]
hello = [{"role": "user", "content": "Say hello."}]

whole = client.messages.create(model=model, max_tokens=12, messages=hello)
assert whole.content[0].text and whole.stop_reason in ("end_turn", "max_tokens")
with client.messages.stream(model=model, max_tokens=12, messages=hello) as stream:
    text = "".join(stream.text_stream)
    final = stream.get_final_message()
assert text and final.usage.output_tokens > 0
assert client.messages.count_tokens(model=model, messages=hello).input_tokens > 0
tool = {"name": "pick", "input_schema": {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}}
called = client.messages.create(
    model=model, max_tokens=100, messages=hello, tools=[tool], tool_choice={"type": "tool", "name": "pick"}
)
assert called.stop_reason == "tool_use" and called.content[-1].input["n"] in (1, 2), called
try:
    client.messages.create(model="nope", max_tokens=5, messages=hello)
except NotFoundError as error:
    assert error.body["error"]["type"] == "not_found_error"
else:
    raise AssertionError("nope")
print("ok")
