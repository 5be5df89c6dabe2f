"""What people do with the official Python SDK, against the gateway at BASE_URL with the real local model."""
import os
from openai import OpenAI, BadRequestError, NotFoundError
from pydantic import BaseModel

client = OpenAI(base_url=os.environ["BASE_URL"] + "/v1", api_key="none", max_retries=0)
model = os.environ["MODEL"]
hello = [{"role": "user", "content": "Say hello."}]

whole = client.chat.completions.create(model=model, messages=hello, temperature=0, max_tokens=80)
assert whole.choices[0].message.content, whole
assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
assert whole._request_id

text = ""
usage = None
for chunk in client.chat.completions.create(
    model=model, messages=hello, temperature=0, max_tokens=80, stream=True, stream_options={"include_usage": True}
):
    if chunk.choices:
        text += chunk.choices[0].delta.content or ""
    usage = chunk.usage or usage
assert text == whole.choices[0].message.content, (text, whole)
assert usage.completion_tokens == whole.usage.completion_tokens

with client.chat.completions.stream(model=model, messages=hello, temperature=0, max_tokens=80) as stream:
    events = [event.type for event in stream]
    final = stream.get_final_completion()
assert "content.delta" in events and final.choices[0].message.content == text


class City(BaseModel):
    name: str
    big: bool


parsed = client.chat.completions.parse(
    model=model, messages=[{"role": "user", "content": "A city?"}], response_format=City, max_tokens=200, temperature=0
)
assert isinstance(parsed.choices[0].message.parsed, City), parsed

tool = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"unit": {"enum": ["c", "f"]}}, "required": ["unit"]},
    },
}
called = client.chat.completions.create(
    model=model, messages=hello, tools=[tool], tool_choice="required", max_tokens=100, temperature=0
)
assert called.choices[0].finish_reason == "tool_calls"
assert called.choices[0].message.tool_calls[0].function.name == "get_weather"

response = client.responses.create(model=model, input="Say hello.", max_output_tokens=16)
assert response.output_text and response.usage.input_tokens > 0
again = client.responses.create(model=model, input="And again.", previous_response_id=response.id, max_output_tokens=16)
assert again.previous_response_id == response.id
with client.responses.stream(model=model, input="Say hello.", max_output_tokens=64) as stream:
    kinds = [event.type for event in stream]
assert kinds[0] == "response.created" and kinds[-1] in ("response.completed", "response.incomplete"), kinds

assert len(client.embeddings.create(model=model, input=["a", "b"]).data) == 2
assert model in [entry.id for entry in client.models.list()]
assert client.models.retrieve(model).id == model
assert client.completions.create(model=model, prompt="Once", max_tokens=4).choices[0].text

for wrong, kind in (({"model": "nope"}, NotFoundError), ({"temperature": 9}, BadRequestError)):
    try:
        client.chat.completions.create(**({"model": model, "messages": hello} | wrong))
    except kind as error:
        assert error.param and error.code, error
    else:
        raise AssertionError(wrong)
print("ok")
