"""LangChain's own standard suites, against the gateway at BASE_URL with the real local model."""

import os

import pytest
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests

GATEWAY = {"base_url": f"{os.environ['BASE_URL']}/v1", "api_key": "none", "model": os.environ["MODEL"], "max_retries": 0}


class TestChat(ChatModelIntegrationTests):
    @property
    def chat_model_class(self):
        return ChatOpenAI

    @property
    def chat_model_params(self):
        # the penalty keeps a small model from repeating itself until the limit cuts its JSON
        return {**GATEWAY, "temperature": 0, "frequency_penalty": 1.0, "max_tokens": 150, "stream_usage": True}

    @pytest.mark.xfail(reason="asks for a call without forcing it: whether 135M parameters choose one is their wit")
    def test_agent_loop(self, model):
        super().test_agent_loop(model)

    @pytest.mark.xfail(reason="wants Chinese text in the arguments, which a model of English rarely writes")
    def test_unicode_tool_call_integration(self, model):
        super().test_unicode_tool_call_integration(model)


class TestEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self):
        return OpenAIEmbeddings

    @property
    def embedding_model_params(self):
        # by default it sends token ids of another vocabulary, which it would have to fetch first
        return {**GATEWAY, "check_embedding_ctx_length": False}
