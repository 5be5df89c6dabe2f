// Command bifrost serves chat completions with Bifrost's core behind fasthttp, the server that Bifrost's own program uses
// (which the Go proxy does not have): a peer for bench/overhead. Usage: bifrost PORT UPSTREAM_BASE_URL
package main

import (
	"bufio"
	"context"
	"errors"
	"log"
	"os"

	bifrost "github.com/maximhq/bifrost/core"
	"github.com/maximhq/bifrost/core/schemas"
	"github.com/valyala/fasthttp"
)

// account is one OpenAI upstream with one key; everything else is Bifrost's default.
type account struct{ baseURL string }

func (a account) GetConfiguredProviders() ([]schemas.ModelProvider, error) {
	return []schemas.ModelProvider{schemas.OpenAI}, nil
}

func (a account) GetKeysForProvider(context.Context, schemas.ModelProvider) ([]schemas.Key, error) {
	return []schemas.Key{{ID: "bench", Value: *schemas.NewSecretVar("x"), Models: schemas.WhiteList{"*"}, Weight: 1}}, nil
}

func (a account) GetConfigForProvider(schemas.ModelProvider) (*schemas.ProviderConfig, error) {
	config := &schemas.ProviderConfig{NetworkConfig: schemas.NetworkConfig{BaseURL: a.baseURL, AllowPrivateNetwork: true}}
	config.CheckAndSetDefaults()
	return config, nil
}

type chatRequest struct {
	Model    string                `json:"model"`
	Messages []schemas.ChatMessage `json:"messages"`
	Stream   bool                  `json:"stream"`
}

func main() {
	logger := bifrost.NewDefaultLogger(schemas.LogLevelError)
	client, err := bifrost.Init(context.Background(), schemas.BifrostConfig{Account: account{os.Args[2]}, Logger: logger})
	if err != nil {
		log.Fatal(err)
	}
	chat := func(request *fasthttp.RequestCtx) {
		var body chatRequest
		var params schemas.ChatParameters // reads itself, and would hide the fields above if it were one of them
		if err := errors.Join(schemas.Unmarshal(request.PostBody(), &body), schemas.Unmarshal(request.PostBody(), &params)); err != nil {
			request.Error(err.Error(), fasthttp.StatusBadRequest)
			return
		}
		asked := &schemas.BifrostChatRequest{
			Provider: schemas.OpenAI, Model: body.Model, Input: body.Messages, Params: &params,
		}
		ctx, cancel := schemas.NewBifrostContextWithCancel(context.Background())
		if body.Stream {
			stream(request, client, ctx, cancel, asked)
			return
		}
		defer cancel()
		answer, failure := client.ChatCompletionRequest(ctx, asked)
		if failure != nil {
			request.Error(failure.Error.Message, fasthttp.StatusBadGateway)
			return
		}
		text, err := schemas.Marshal(answer)
		if err != nil {
			request.Error(err.Error(), fasthttp.StatusInternalServerError)
			return
		}
		request.SetContentType("application/json")
		request.SetBody(text)
	}
	log.Fatal((&fasthttp.Server{Handler: chat}).ListenAndServe("127.0.0.1:" + os.Args[1]))
}

func stream(
	request *fasthttp.RequestCtx, client *bifrost.Bifrost, ctx *schemas.BifrostContext, cancel context.CancelFunc,
	asked *schemas.BifrostChatRequest,
) {
	chunks, failure := client.ChatCompletionStreamRequest(ctx, asked)
	if failure != nil {
		cancel()
		request.Error(failure.Error.Message, fasthttp.StatusBadGateway)
		return
	}
	request.SetContentType("text/event-stream")
	request.SetBodyStreamWriter(func(writer *bufio.Writer) {
		defer cancel()
		for chunk := range chunks {
			text, err := schemas.Marshal(chunk)
			if err != nil {
				return
			}
			writer.WriteString("data: ")
			writer.Write(text)
			writer.WriteString("\n\n")
			if writer.Flush() != nil {
				return
			}
		}
		writer.WriteString("data: [DONE]\n\n")
	})
}
