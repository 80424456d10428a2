package receive_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gitopskit/gitopskit/events/receive"
)

func Example() {
	h, err := receive.New(receive.Options{
		Receive: func(_ context.Context, req receive.Request) error {
			fmt.Println(req.Receiver, "hears of", req.Ref, "in", req.Repository)
			return nil
		},
		Observe: func(o receive.Outcome) { fmt.Println(o.Status, o.Result) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	token := []byte("drawn at random")
	path, err := h.Set(receive.Name{Namespace: "shop", Name: "web"}, receive.Receiver{
		Type: receive.GitLab, Secret: token, Events: []string{"Push Hook"}, Filter: `ref == "refs/heads/main"`,
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	// What GitLab does.
	hook := httptest.NewRequest(http.MethodPost, path, strings.NewReader(`{"ref":"refs/heads/main","project":{"path_with_namespace":"acme/shop"}}`))
	hook.Header.Set("X-Gitlab-Event", "Push Hook")
	hook.Header.Set("X-Gitlab-Token", string(token))
	h.ServeHTTP(httptest.NewRecorder(), hook)
	// Output:
	// shop/web hears of refs/heads/main in acme/shop
	// 200 received
}

// Mistakes in a receiver are found when it is set, and another try does not help.
func ExampleHandler_Set() {
	h, err := receive.New(receive.Options{Receive: func(context.Context, receive.Request) error { return nil }})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = h.Set(receive.Name{Namespace: "shop", Name: "web"}, receive.Receiver{Type: receive.GitHub, Secret: []byte("1234")})
	var fault *receive.ConfigError
	fmt.Println(errors.As(err, &fault), fault.Terminal())
	fmt.Println(err)
	// Output:
	// true true
	// receiver shop/web: Secret: it has 4 bytes and can be guessed; use at least 8, drawn at random; correct it
}

// Jobs of a CI system prove who they are with tokens of their own: no secret is shared.
func ExampleIssuer() {
	h, err := receive.New(receive.Options{Receive: func(context.Context, receive.Request) error { return nil }})
	if err != nil {
		fmt.Println(err)
		return
	}
	path, err := h.Set(receive.Name{Namespace: "shop", Name: "ci"}, receive.Receiver{
		Type: receive.GenericOIDC,
		Issuers: []receive.Issuer{{
			URL:      "https://token.actions.githubusercontent.com",
			Audience: "hooks.example.com",
			Validations: []receive.Validation{
				{Expression: `claims.repository == "acme/shop"`, Message: "it is another repository"},
				{Expression: `claims.ref == "refs/heads/main"`, Message: "it is another branch"},
			},
		}},
	})
	fmt.Println(path[:14], err)
	// Output: /hook/1a10599c <nil>
}

// A filter chooses the objects that a request concerns.
func ExampleCompileFilter() {
	filter, err := receive.CompileFilter(`res.spec.image == repository`, receive.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	req := receive.Request{Repository: "quay.io/acme/shop"}
	for _, image := range []string{"quay.io/acme/shop", "quay.io/acme/blog"} {
		object := map[string]any{"spec": map[string]any{"image": image}}
		concerned, err := filter.Matches(context.Background(), req, object)
		fmt.Println(image, concerned, err)
	}
	// Output:
	// quay.io/acme/shop true <nil>
	// quay.io/acme/blog false <nil>
}

func ExamplePath() {
	fmt.Println(receive.Path([]byte("drawn at random"), "web", "shop"))
	// Output: /hook/5e5cda7968268b007d56c8e2ea7055bf46f0d61667523f8e832c5d73ef6b939a
}
