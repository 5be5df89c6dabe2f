"""Libraries that build on OpenAI's Python SDK, and its older major, against the gateway at BASE_URL with the real local model."""

import os

import instructor
import litellm
import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

URL = os.environ["BASE_URL"]
MODEL = os.environ["MODEL"]
HELLO = [{"role": "user", "content": "Say hello."}]
LOOKUP = {
    "type": "function",
    "function": {
        "name": "lookup",
        "description": "Looks up a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


class City(BaseModel):
    city: str = Field(max_length=20)
    people: int


client = openai.OpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)
ask = {"model": MODEL, "messages": HELLO, "max_tokens": 16, "temperature": 0}


def test_openai_streams_what_it_answers_whole():
    whole = client.chat.completions.create(**ask)
    text, usage = "", None
    for chunk in client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}):
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
        usage = chunk.usage or usage
    assert text == whole.choices[0].message.content
    assert usage.total_tokens == whole.usage.total_tokens
    assert whole._request_id.startswith("req_")


def test_openai_stream_helper_with_a_forced_tool():
    with client.chat.completions.stream(
        **{**ask, "max_tokens": 200}, tools=[LOOKUP], tool_choice={"type": "function", "function": {"name": "lookup"}}
    ) as stream:
        completion = stream.get_final_completion()
    call = completion.choices[0].message.tool_calls[0]
    assert (call.function.name, completion.choices[0].finish_reason) == ("lookup", "tool_calls")
    assert call.id.startswith("call_")


def test_openai_parse():
    completion = client.beta.chat.completions.parse(**{**ask, "max_tokens": 200}, response_format=City)
    assert isinstance(completion.choices[0].message.parsed, City)


def test_openai_responses_and_their_stream_helper():
    request = {"model": MODEL, "input": "Say hello.", "max_output_tokens": 64, "temperature": 0}
    whole = client.responses.create(**request)
    with client.responses.stream(**request) as stream:
        events = [event.type for event in stream]
        final = stream.get_final_response()
    assert final.output_text == whole.output_text
    assert events[0] == "response.created" and events[-1] == "response.completed"
    again = client.responses.create(**request, previous_response_id=whole.id)
    assert again.usage.input_tokens > whole.usage.input_tokens


def test_openai_files_and_batches():
    line = '{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"%s","max_tokens":4,"messages":[{"role":"user","content":"Hi"}]}}'
    file = client.files.create(file=("in.jsonl", (line % MODEL).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    while batch.status not in ("completed", "failed"):
        batch = client.batches.retrieve(batch.id)
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 0)
    assert '"custom_id":"a"' in client.files.content(batch.output_file_id).text


@pytest.mark.parametrize(
    "change, error",
    [({"model": "nope"}, openai.NotFoundError), ({"temperature": "hot"}, openai.BadRequestError), ({"n": 0}, openai.BadRequestError)],
)
def test_openai_faults_are_its_own_exceptions(change, error):
    with pytest.raises(error) as caught:
        client.chat.completions.create(**{**ask, **change})
    assert caught.value.request_id.startswith("req_")
    assert caught.value.param == next(iter(change))


def test_instructor_gets_an_object():
    city = instructor.from_openai(client).chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=200, response_model=City, max_retries=0
    )
    assert isinstance(city, City)


def test_litellm_as_a_client():
    common = {"model": f"openai/{MODEL}", "api_base": f"{URL}/v1", "api_key": "none", "messages": HELLO, "max_tokens": 16, "temperature": 0}
    whole = litellm.completion(**common)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in litellm.completion(**common, stream=True))
    assert text == whole.choices[0].message.content


def test_langchain_invokes_streams_and_calls_tools():
    chat = ChatOpenAI(model=MODEL, base_url=f"{URL}/v1", api_key="none", temperature=0, max_tokens=200, max_retries=0)
    short = chat.bind(max_tokens=16)
    assert "".join(part.content for part in short.stream("Say hello.")) == short.invoke("Say hello.").content
    called = chat.bind_tools([LOOKUP], tool_choice="lookup").invoke("Look up Paris.")
    assert called.tool_calls[0]["name"] == "lookup"
    assert isinstance(chat.with_structured_output(City, method="json_schema").invoke("Describe Paris."), City)
