package notify_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitopskit/gitopskit/events"
	"github.com/gitopskit/gitopskit/events/notify"
)

// A failure is shown beside the commit that caused it.
func ExampleNewGitHubStatus() {
	// In place of GitHub, which has no status for the commit yet.
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL.Path)
		if body, _ := io.ReadAll(r.Body); len(body) > 0 {
			fmt.Println(string(body))
		}
		io.WriteString(w, `{"statuses":[]}`)
	}))
	defer hub.Close()

	sink, err := notify.NewGitHubStatus(notify.RepositoryOptions{
		Address: "https://github.com/acme/fleet",
		API:     hub.URL, // without it: https://api.github.com
		Token:   "ghp_...",
		Origin:  "prod",
		HTTP:    notify.HTTPOptions{AllowPlainHTTP: true}, // for the stand-in only
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sink.CloseIdleConnections()
	// An events.Recorder sends again after a failure, and keeps the caller from waiting.
	err = sink.Send(context.Background(), events.Event{
		InvolvedObject:      events.ObjectReference{Kind: "Kustomization", Namespace: "shop", Name: "web"},
		Severity:            events.SeverityError,
		Timestamp:           metav1.Now(),
		Reason:              "HealthCheckFailed",
		Message:             "Deployment shop/web is not ready",
		Metadata:            map[string]string{notify.MetaRevision: "main@sha1:1f0c7e6b2a9d4c3f8e5b1a0d7c6f9e2b4d8a3c51"},
		ReportingController: "kustomize-controller",
	})
	fmt.Println(err)
	// Output:
	// GET /repos/acme/fleet/commits/1f0c7e6b2a9d4c3f8e5b1a0d7c6f9e2b4d8a3c51/status
	// POST /repos/acme/fleet/statuses/1f0c7e6b2a9d4c3f8e5b1a0d7c6f9e2b4d8a3c51
	// {"state":"failure","context":"kustomization/web/prod","description":"health check failed"}
	// <nil>
}
