package receive_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/events/receive"
)

// each runs a test for every platform.
func each(t *testing.T, limits receive.Limits, test func(t *testing.T, r *rig, f fixture, url string)) {
	for _, f := range fixtures() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, limits, nil)
			test(t, r, f, r.set(t, f.receiver))
		})
	}
}

func TestRequestsOfEveryPlatformAreTaken(t *testing.T) {
	each(t, receive.Limits{}, func(t *testing.T, r *rig, f fixture, url string) {
		got := r.do(t, f.request(t, url, f.body))
		require.Equal(t, http.StatusOK, got.status, "%v", r.last(t, 1).Err)
		require.Empty(t, got.body)
		require.Len(t, r.calls(), 1)
		req := r.calls()[0]
		var body any
		require.NoError(t, json.Unmarshal([]byte(f.body), &body))
		require.Equal(t, body, req.Body)
		require.Equal(t, web, req.Receiver)
		require.Equal(t, f.receiver.Type, req.Type)
		require.Equal(t, f.want, receive.Request{Event: req.Event, DeliveryID: req.DeliveryID, Repository: req.Repository, Ref: req.Ref, Revision: req.Revision})
		require.Equal(t, "application/json", req.Header.Get("Content-Type"))
		o := r.last(t, 1)
		require.Equal(t, receive.Outcome{Receiver: web, Type: f.receiver.Type, Event: f.want.Event, Result: receive.Received, Status: 200, Duration: o.Duration}, o)
		require.Equal(t, f.receiver.Type == receive.GCR || f.receiver.Type == receive.GenericOIDC, req.Claims != nil)
	})
}

func TestCredentialsAreNotPassedOn(t *testing.T) {
	each(t, receive.Limits{}, func(t *testing.T, r *rig, f fixture, url string) {
		req := f.request(t, url, f.body)
		req.Header.Set("Cookie", "session=canary")
		req.Header.Set("X-Api-Key", "canary")
		require.Equal(t, http.StatusOK, r.do(t, req).status)
		text, err := json.Marshal(r.calls()[0])
		require.NoError(t, err)
		require.NotContains(t, string(text), secret)
		require.NotContains(t, string(text), "canary")
		if name := f.proof(); name != "" {
			require.Empty(t, r.calls()[0].Header.Get(name))
		}
	})
}

func TestOtherEventsAreRefused(t *testing.T) {
	for _, f := range fixtures() {
		t.Run(f.name, func(t *testing.T) {
			r := newRig(t, receive.Limits{}, nil)
			f.receiver.Events = []string{"another"}
			if f.want.Event == "" {
				_, err := r.Set(web, f.receiver)
				require.ErrorContains(t, err, "knows no events")
				return
			}
			url := r.set(t, f.receiver)
			require.Equal(t, http.StatusBadRequest, r.post(t, f, url, f.body))
			require.Equal(t, receive.OtherEvent, r.last(t, 1).Result)
			f.receiver.Events = []string{"another", strings.ToUpper(f.want.Event)}
			url = r.set(t, f.receiver)
			require.Equal(t, http.StatusOK, r.post(t, f, url, f.body), "a refused one was not remembered")
			require.Len(t, r.calls(), 1)
		})
	}
}

func TestSecondDeliveriesAreKnown(t *testing.T) {
	each(t, receive.Limits{}, func(t *testing.T, r *rig, f fixture, url string) {
		require.Equal(t, http.StatusOK, r.post(t, f, url, f.body))
		require.Equal(t, url, r.set(t, f.receiver), "setting the same again forgets nothing")
		require.Equal(t, http.StatusOK, r.post(t, f, url, f.body))
		want, result := 2, receive.Received
		if f.known {
			want, result = 1, receive.Duplicate
		}
		require.Equal(t, result, r.last(t, 2).Result)
		require.Len(t, r.calls(), want)

		r.advance(time.Hour + time.Second)
		if f.receiver.Type != receive.GCR && f.receiver.Type != receive.GenericOIDC { // tokens expire
			require.Equal(t, http.StatusOK, r.post(t, f, url, f.body))
			require.Len(t, r.calls(), want+1, "after the window it counts again")
		}
	})
}

func TestFailedDeliveriesAreTakenAgain(t *testing.T) {
	each(t, receive.Limits{}, func(t *testing.T, r *rig, f fixture, url string) {
		r.failWith(errors.New("the API server is away"))
		got := r.do(t, f.request(t, url, f.body))
		require.Equal(t, http.StatusInternalServerError, got.status)
		require.Empty(t, got.body)
		require.ErrorContains(t, r.last(t, 1).Err, "is away")
		r.failWith(nil)
		require.Equal(t, http.StatusOK, r.post(t, f, url, f.body))
		require.Equal(t, receive.Received, r.last(t, 2).Result)
		require.Len(t, r.calls(), 2)
	})
}

func TestSuspendedReceiversTellOnlyTheAuthentic(t *testing.T) {
	each(t, receive.Limits{}, func(t *testing.T, r *rig, f fixture, _ string) {
		f.receiver.Suspended = true
		url := r.set(t, f.receiver)
		require.Equal(t, http.StatusServiceUnavailable, r.post(t, f, url, f.body))
		if name := f.proof(); name != "" {
			req := f.request(t, url, f.body)
			req.Header.Del(name)
			require.Equal(t, http.StatusNotFound, r.do(t, req).status)
		}
		f.receiver.Suspended = false
		require.Equal(t, http.StatusOK, r.post(t, f, r.set(t, f.receiver), f.body))
		require.Len(t, r.calls(), 1)
	})
}

func TestBodiesAreTakenUpToTheLimit(t *testing.T) {
	const limit = 8 << 10
	each(t, receive.Limits{Body: limit}, func(t *testing.T, r *rig, f fixture, url string) {
		full := f.body + strings.Repeat(" ", limit-len(f.body))
		require.Equal(t, http.StatusOK, r.post(t, f, url, full))
		require.Equal(t, http.StatusRequestEntityTooLarge, r.post(t, f, url, full+" "))
		chunked := f.request(t, url, full+" ")
		chunked.ContentLength = -1
		require.Equal(t, http.StatusRequestEntityTooLarge, r.do(t, chunked).status)
		require.Len(t, r.calls(), 1)
	})
}

func TestDefaultLimitIsThreeMebibytes(t *testing.T) {
	f := fixtureOf(t, "github")
	r := newRig(t, receive.Limits{}, nil)
	url := r.set(t, f.receiver)
	full := f.body + strings.Repeat(" ", 3<<20-len(f.body))
	require.Equal(t, http.StatusOK, r.post(t, f, url, full))
	require.Equal(t, http.StatusRequestEntityTooLarge, r.post(t, f, url, full+" "))
}

func TestPingsAreAnswered(t *testing.T) {
	for name, c := range map[string]struct {
		of     string
		header map[string]string
		body   string
	}{
		"github":           {"github", map[string]string{"X-GitHub-Event": "ping"}, `{"zen":"Keep it logically awesome.","hook_id":1}`},
		"bitbucket server": {"bitbucket server", map[string]string{"X-Event-Key": "diagnostics:ping"}, `{"test":true}`},
		"acr":              {"acr", nil, `{"id":"3e2b","timestamp":"2026-08-01T12:00:00Z","action":"ping"}`},
	} {
		t.Run(name, func(t *testing.T) {
			f := fixtureOf(t, c.of)
			f.header, f.receiver.Events = c.header, []string{"push"}
			r := newRig(t, receive.Limits{}, nil)
			url := r.set(t, f.receiver)
			for range 2 {
				require.Equal(t, http.StatusOK, r.post(t, f, url, c.body))
			}
			require.Equal(t, receive.Pinged, r.last(t, 2).Result)
			require.Empty(t, r.calls())
		})
	}
}

func TestWhatElsePlatformsSend(t *testing.T) {
	for name, c := range map[string]struct {
		of     string
		header map[string]string
		body   string
		want   receive.Request
	}{
		"github tag": {"github", map[string]string{"X-GitHub-Event": "create"}, `{"ref":"v1","ref_type":"tag","repository":{"full_name":"a/b"}}`,
			receive.Request{Event: "create", Repository: "a/b", Ref: "refs/tags/v1"}},
		"github deleted branch": {"github", map[string]string{"X-GitHub-Event": "push"}, `{"ref":"refs/heads/x","after":"0000000000000000000000000000000000000000"}`,
			receive.Request{Event: "push", Ref: "refs/heads/x"}},
		"github pull request": {"github", map[string]string{"X-GitHub-Event": "pull_request"}, `{"pull_request":{"head":{"ref":"fix","sha":"abc"}}}`,
			receive.Request{Event: "pull_request", Ref: "refs/heads/fix", Revision: "abc"}},
		"github release": {"github", map[string]string{"X-GitHub-Event": "release"}, `{"release":{"tag_name":"v2"}}`,
			receive.Request{Event: "release", Ref: "refs/tags/v2"}},
		"github package": {"github", map[string]string{"X-GitHub-Event": "package"}, `{"package":{"package_version":{"version":"sha256:1","container_metadata":{"tag":{"name":"1.0"}}}}}`,
			receive.Request{Event: "package", Ref: "1.0", Revision: "sha256:1"}},
		"forgejo": {"gitea", map[string]string{"X-Forgejo-Event": "push", "X-Forgejo-Delivery": "d"}, `{"ref":"refs/heads/x","after":"abc"}`,
			receive.Request{Event: "push", DeliveryID: "d", Ref: "refs/heads/x", Revision: "abc"}},
		"gitlab merge request": {"gitlab", map[string]string{"X-Gitlab-Event": "Merge Request Hook", "X-Gitlab-Event-UUID": "u"},
			`{"object_kind":"merge_request","project":{"path_with_namespace":"a/b"},"object_attributes":{"source_branch":"fix","last_commit":{"id":"abc"}}}`,
			receive.Request{Event: "Merge Request Hook", DeliveryID: "u", Repository: "a/b", Ref: "refs/heads/fix", Revision: "abc"}},
		"bitbucket cloud deleted tag": {"bitbucket cloud", map[string]string{"X-Event-Key": "repo:push"}, `{"push":{"changes":[{"new":null,"old":{"type":"tag","name":"v1"}}]}}`,
			receive.Request{Event: "repo:push", Ref: "refs/tags/v1"}},
		"harbor in cloudevents": {"harbor", nil, `{"specversion":"1.0","id":"i","type":"harbor.artifact.pushed","data":{"repository":{"repo_full_name":"a/b"},"resources":[{"tag":"1","digest":"sha256:1"}]}}`,
			receive.Request{Event: "harbor.artifact.pushed", DeliveryID: "i", Repository: "a/b", Ref: "1", Revision: "sha256:1"}},
		"cdevents structured": {"cdevents", map[string]string{"Content-Type": "application/cloudevents+json; charset=utf-8"},
			`{"specversion":"1.0","id":"271069a8-fc18-44f1-b38f-9d70a1695819","source":"/ci/shop","type":"dev.cdevents.artifact.published.0.2.0","data":` + cdEvent + `}`,
			fixtureOf(t, "cdevents").want},
		"a fact that is too long": {"github", map[string]string{"X-GitHub-Event": "push"}, `{"ref":"` + strings.Repeat("x", 1025) + `"}`,
			receive.Request{Event: "push"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := fixtureOf(t, c.of)
			f.header = c.header
			r := newRig(t, receive.Limits{}, nil)
			require.Equal(t, http.StatusOK, r.post(t, f, r.set(t, f.receiver), c.body))
			got := r.calls()[0]
			require.Equal(t, c.want, receive.Request{Event: got.Event, DeliveryID: got.DeliveryID, Repository: got.Repository, Ref: got.Ref, Revision: got.Revision})
		})
	}
}

func TestFormsAreTaken(t *testing.T) {
	f := fixtureOf(t, "github")
	r := newRig(t, receive.Limits{}, nil)
	url := r.set(t, f.receiver)
	for body, want := range map[string]int{
		"payload=%7B%22ref%22%3A+%22refs%2Fheads%2Fmain%22%7D": 200,
		`{"ref":"refs/heads/main"}`:                            200, // as curl -d calls it
		"payload=%7":                                           400,
		"payload={}&payload={}":                                400,
	} {
		req := f.request(t, url, body)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		require.Equal(t, want, r.do(t, req).status, body)
	}
	for _, got := range r.calls() {
		require.Equal(t, "refs/heads/main", got.Ref)
	}
}

func TestGenericSendersSendWhatTheyLike(t *testing.T) {
	for _, name := range []string{"generic", "generic-hmac", "generic-oidc"} {
		f := fixtureOf(t, name)
		r := newRig(t, receive.Limits{}, nil)
		url := r.set(t, f.receiver)
		for i, body := range []string{"", "hello", "[1]", "\xff\x00"} {
			require.Equal(t, http.StatusOK, r.post(t, f, url, body))
			require.Equal(t, body == "[1]", r.calls()[i].Body != nil)
		}
		f.receiver.Filter = `req.image == "shop"`
		url = r.set(t, f.receiver)
		require.Equal(t, http.StatusBadRequest, r.post(t, f, url, "hello"), "a filter needs JSON")
	}
}

func TestReceiversComeAndGo(t *testing.T) {
	f := fixtureOf(t, "github")
	r := newRig(t, receive.Limits{}, nil)
	old := r.set(t, f.receiver)
	f.receiver.Filter = "true"
	require.Equal(t, old, r.set(t, f.receiver), "the path outlives changes of the rest")

	f.receiver.Secret = []byte("another secret")
	changed := r.set(t, f.receiver)
	require.NotEqual(t, old, changed)
	require.Equal(t, http.StatusNotFound, r.post(t, f, old, f.body), "the old path is gone")

	bad := f.receiver
	bad.Filter = "req."
	_, err := r.Set(web, bad)
	require.Error(t, err)
	req := f.request(t, changed, f.body)
	f.prove(t, req.Header, "another secret", f.body)
	require.Equal(t, http.StatusOK, r.do(t, req).status, "a faulty change leaves the receiver of before")

	r.Delete(web)
	r.Delete(web)
	req = f.request(t, changed, f.body)
	f.prove(t, req.Header, "another secret", f.body)
	require.Equal(t, http.StatusNotFound, r.do(t, req).status)
}

func TestMistakesAreReportedTogether(t *testing.T) {
	r := newRig(t, receive.Limits{Receivers: 1}, nil)
	issuer := ciIssuer()
	good := fixtureOf(t, "github").receiver
	oidc := func(change func(*receive.Issuer)) receive.Receiver {
		i := issuer
		change(&i)
		return receive.Receiver{Type: receive.GenericOIDC, Issuers: []receive.Issuer{i}}
	}
	for want, rec := range map[string]receive.Receiver{
		"none that is known":            {Type: "svn", Secret: []byte(secret)},
		"can be guessed":                {Type: receive.GitHub, Secret: []byte("short")},
		"github and gitea":              {Type: receive.GitLab, Secret: []byte(secret), AllowSHA1: true},
		"one is empty":                  {Type: receive.GitHub, Secret: []byte(secret), Events: []string{""}},
		"both required":                 {Type: receive.GCR, Secret: []byte(secret), Email: "a@b"},
		"are for gcr":                   {Type: receive.GitHub, Secret: []byte(secret), Audience: "a"},
		"are for generic-oidc":          {Type: receive.GitHub, Secret: []byte(secret), Issuers: []receive.Issuer{issuer}},
		"there are 0":                   {Type: receive.GenericOIDC},
		"plain HTTP":                    oidc(func(i *receive.Issuer) { i.URL = "http://ci.example.com" }),
		"nothing else":                  oidc(func(i *receive.Issuer) { i.URL = "https://user:password@ci.example.com" }),
		"audience is missing":           oidc(func(i *receive.Issuer) { i.Audience = "" }),
		"no validations":                oidc(func(i *receive.Issuer) { i.Validations = nil }),
		"no name":                       oidc(func(i *receive.Issuer) { i.Variables = []receive.Variable{{Name: "a b", Expression: "1"}} }),
		"variable a":                    oidc(func(i *receive.Issuer) { i.Variables = []receive.Variable{{Name: "a", Expression: "nope"}} }),
		"validation 1":                  oidc(func(i *receive.Issuer) { i.Validations = []receive.Validation{{Expression: "1"}} }),
		"undeclared reference to 'res'": {Type: receive.Generic, Secret: []byte(secret), Filter: `res.kind == "x"`},
		"not a bool":                    {Type: receive.Generic, Secret: []byte(secret), Filter: `"x"`},
		"at most 8192":                  {Type: receive.Generic, Secret: []byte(secret), Filter: strings.Repeat("true && ", 1024) + "true"},
	} {
		_, err := r.Set(web, rec)
		var fault *receive.ConfigError
		require.ErrorAs(t, err, &fault, want)
		require.ErrorContains(t, err, want)
		require.True(t, fault.Terminal())
		require.NotContains(t, err.Error(), secret)
		require.NotContains(t, err.Error(), "password")
	}
	_, err := r.Set(receive.Name{}, receive.Receiver{Type: "svn"})
	for _, want := range []string{"Name", "Type", "Secret"} {
		require.ErrorContains(t, err, ": "+want+":")
	}
	require.Zero(t, r.Issuers(), "what was refused keeps no keys")

	r.set(t, good)
	_, err = r.Set(receive.Name{Name: "more"}, good)
	require.ErrorIs(t, err, receive.ErrTooManyReceivers)
	r.set(t, good)

	_, err = receive.New(receive.Options{})
	require.Error(t, err)
}

func TestFilters(t *testing.T) {
	for filter, want := range map[string]receive.Result{
		`req.ref == "refs/heads/main" && ref == req.ref`:                                          receive.Received,
		`req.repository.id == 186853002`:                                                          receive.Received,
		`headers["x-github-event"] == event && revision.size() == 40`:                             receive.Received,
		`req.commits.exists(c, "deploy.yaml" in c.modified)`:                                      receive.Received,
		`req.repository.clone_url.split("/").last().value().split(".").first().value() == "shop"`: receive.Received,
		`req.commits[0].message.split("").size() == 8`:                                            receive.Received,
		`req.?nope.hasValue()`:                                                                    receive.Unwanted,
		`req.nope.split(",").size() == 1`:                                                         receive.Unwanted,
		`req.commits.split(",").size() == 1`:                                                      receive.FilterFailed,
		`repository == "acme/other"`:                                                              receive.Unwanted,
		`req.nope.nope == 1`:                                                                      receive.Unwanted,
		`req.commits[7].id == ""`:                                                                 receive.Unwanted,
		`claims.sub == "x"`:                                                                       receive.Unwanted,
		`"x-hub-signature-256" in headers`:                                                        receive.Unwanted,
		`req.ref`:                                                                                 receive.FilterFailed,
		`req.ref.size() / 0 == 1`:                                                                 receive.FilterFailed,
	} {
		f := fixtureOf(t, "github")
		f.receiver.Filter = filter
		r := newRig(t, receive.Limits{}, nil)
		status := r.post(t, f, r.set(t, f.receiver), f.body)
		require.Equal(t, want, r.last(t, 1).Result, filter)
		require.Equal(t, want == receive.FilterFailed, status == http.StatusBadRequest, filter)
		require.Equal(t, want == receive.Received, len(r.calls()) == 1, filter)
	}
}

func TestFiltersOfObjects(t *testing.T) {
	f, err := receive.CompileFilter(`req.image == res.metadata.name && res.kind == "App"`, receive.Limits{})
	require.NoError(t, err)
	req := receive.Request{Body: map[string]any{"image": "shop"}}
	object := func(name string) map[string]any {
		return map[string]any{"kind": "App", "metadata": map[string]any{"name": name}}
	}
	for name, want := range map[string]bool{"shop": true, "other": false} {
		got, err := f.Matches(t.Context(), req, object(name))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	got, err := f.Matches(t.Context(), receive.Request{}, nil)
	require.NoError(t, err)
	require.False(t, got, "a body that is null has no fields")

	_, err = receive.CompileFilter("", receive.Limits{})
	var fault *receive.ConfigError
	require.ErrorAs(t, err, &fault)
}

func TestPathIsWhatFluxComputes(t *testing.T) {
	path := receive.Path([]byte("token"), "name", "namespace")
	require.Equal(t, "/hook/033cd85fb94eef8b750b62b37d50fa65adb47b1f0ab5d6a8f9f6692e516e686a", path)
	require.NotEqual(t, path, receive.Path([]byte("tokem"), "name", "namespace"))
	require.Equal(t, path, receive.Path([]byte("tokenname"), "", "namespace"), "the three are joined as they are")
}

func TestPrintingShowsNoSecret(t *testing.T) {
	rec := fixtureOf(t, "github").receiver
	text, err := json.Marshal(rec)
	require.NoError(t, err)
	for _, s := range []string{string(text), rec.String(), rec.GoString()} {
		require.NotContains(t, s, secret)
	}
	require.Equal(t, "shop/web", web.String())
}
