package release

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Status of a release, as Helm writes it.
type Status string

// The statuses that Helm knows.
const (
	Deployed        Status = "deployed"
	Uninstalled     Status = "uninstalled"
	Superseded      Status = "superseded"
	Failed          Status = "failed"
	Uninstalling    Status = "uninstalling"
	PendingInstall  Status = "pending-install"
	PendingUpgrade  Status = "pending-upgrade"
	PendingRollback Status = "pending-rollback"
)

func (s Status) pending() bool {
	return s == PendingInstall || s == PendingUpgrade || s == PendingRollback
}

// record is a version of a release in the form in which Helm 3 stores it. What
// Helm knows more about, such as the chart, stays the text that it is.
type record struct {
	Name      string          `json:"name,omitempty"`
	Info      recordInfo      `json:"info"`
	Chart     json.RawMessage `json:"chart,omitempty"`
	Config    json.RawMessage `json:"config,omitempty"`
	Manifest  string          `json:"manifest,omitempty"`
	Hooks     []*hook         `json:"hooks,omitempty"`
	Version   int             `json:"version,omitempty"`
	Namespace string          `json:"namespace,omitempty"`
}

type recordInfo struct {
	FirstDeployed stamp           `json:"first_deployed"`
	LastDeployed  stamp           `json:"last_deployed"`
	Deleted       stamp           `json:"deleted"`
	Description   string          `json:"description,omitempty"`
	Status        Status          `json:"status,omitempty"`
	Notes         string          `json:"notes,omitempty"`
	Resources     json.RawMessage `json:"resources,omitempty"`
}

// hook is one object with the annotation helm.sh/hook.
type hook struct {
	Name              string   `json:"name,omitempty"`
	Kind              string   `json:"kind,omitempty"`
	Path              string   `json:"path,omitempty"`
	Manifest          string   `json:"manifest,omitempty"`
	Events            []string `json:"events,omitempty"`
	LastRun           hookRun  `json:"last_run"`
	Weight            int      `json:"weight,omitempty"`
	DeletePolicies    []string `json:"delete_policies,omitempty"`
	OutputLogPolicies []string `json:"output_log_policies,omitempty"`
}

func (h *hook) on(event string) bool { return slices.Contains(h.Events, event) }

type hookRun struct {
	StartedAt   stamp  `json:"started_at"`
	CompletedAt stamp  `json:"completed_at"`
	Phase       string `json:"phase"`
}

// The phases of a hook.
const (
	hookUnknown   = "Unknown"
	hookRunning   = "Running"
	hookSucceeded = "Succeeded"
	hookFailed    = "Failed"
)

// stamp is a time whose zero value is written as an empty text, as Helm does.
type stamp struct{ time.Time }

func now() stamp { return stamp{time.Now()} }

// MarshalJSON writes a time as Helm does.
func (s stamp) MarshalJSON() ([]byte, error) {
	if s.IsZero() {
		return []byte(`""`), nil
	}
	return s.Time.MarshalJSON()
}

// UnmarshalJSON reads a time as Helm does.
func (s *stamp) UnmarshalJSON(b []byte) error {
	if string(b) == `""` || string(b) == "null" {
		s.Time = time.Time{}
		return nil
	}
	return s.Time.UnmarshalJSON(b)
}

// chartInfo is what a record's chart says of itself.
type chartInfo struct {
	Metadata struct {
		Name       string `json:"name"`
		Version    string `json:"version"`
		AppVersion string `json:"appVersion"`
	} `json:"metadata"`
}

func (r *record) chartInfo() chartInfo {
	var c chartInfo
	_ = json.Unmarshal(r.Chart, &c) // a record without a chart has no name for it
	return c
}

// content is the digest of what a rollback would bring back, which no change of
// status alters.
func (r *record) content() string {
	parts := []string{r.Manifest, string(r.Config), string(r.Chart)}
	for _, h := range r.Hooks {
		parts = append(parts, h.Manifest)
	}
	return "sha256:" + sum(parts...)
}

// encode writes a record as the data of a Secret.
func (r *record) encode() (string, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	if _, err := w.Write(text); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(buf.Bytes()), nil
}

// maxRecord bounds a record once it is unpacked. A Secret holds one MiB, which may
// unpack to a thousand times as much.
const maxRecord = 64 << 20

var errNotRecord = errors.New("it is not a record of a Helm release")

// decode reads the data of a Secret.
func decode(data string) (*record, error) {
	text, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return nil, fmt.Errorf("%w: it is not base64", errNotRecord)
	}
	if bytes.HasPrefix(text, []byte{0x1f, 0x8b, 0x08}) {
		if text, err = gunzip(text); err != nil {
			return nil, err
		}
	}
	r := &record{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%w: it is not the JSON of one", errNotRecord)
	}
	if r.Name == "" || r.Version < 1 {
		return nil, fmt.Errorf("%w: it has no name or no version", errNotRecord)
	}
	return r, nil
}

func gunzip(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotRecord, err)
	}
	text, err := io.ReadAll(io.LimitReader(z, maxRecord+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errNotRecord, err)
	case len(text) > maxRecord:
		return nil, fmt.Errorf("%w: it unpacks to more than %d MiB", errNotRecord, maxRecord>>20)
	}
	return text, nil
}

// sum is the digest of texts, with their borders.
func sum(texts ...string) string {
	h := sha256.New()
	for _, t := range texts {
		fmt.Fprintf(h, "%d\n%s", len(t), t)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// storedDigest tells whether somebody edited a stored record.
func storedDigest(data string) string { return "sha256:" + sum(strings.TrimSpace(data)) }
