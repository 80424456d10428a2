package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/gitopskit/gitopskit/helm"
)

// Defaults of a Spec.
const (
	DefaultTimeout       = 5 * time.Minute
	DefaultMaxHistory    = 5
	DefaultRetryInterval = 5 * time.Minute
)

// maxName is the longest name that Helm allows a release.
const maxName = 53

// Name shortens the name of a release to what Helm allows: a name of more than 53
// bytes becomes its first 40, a dash, and 12 hexadecimal digits of its SHA-256.
func Name(name string) string {
	if len(name) <= maxName {
		return name
	}
	digest := sha256.Sum256([]byte(name))
	return name[:40] + "-" + hex.EncodeToString(digest[:])[:12]
}

// Spec is the desired state of a release.
type Spec struct {
	// Name of the release; required, at most 53 bytes. See [Name].
	Name string
	// Namespace that the release is made for; "default" by default.
	Namespace string
	// StorageNamespace holds the release's history; Namespace by default.
	StorageNamespace string

	Chart  *helm.Chart    // required
	Values map[string]any // over the chart's own
	// PostRenderers change the rendered objects, one after the other. Hooks and the
	// objects of crds directories are not given to them, as in Helm 3.
	PostRenderers []PostRenderer
	// Labels and Annotations are added to every object that is not a hook.
	Labels, Annotations map[string]string

	// Timeout of each action, its waits included; default 5 minutes.
	Timeout time.Duration
	// MaxHistory is how many versions are kept; default 5, negative for all.
	MaxHistory int
	// Wait for the objects to be ready, unless an action says otherwise.
	Wait WaitOptions

	Install   InstallOptions
	Upgrade   UpgradeOptions
	Rollback  RollbackOptions
	Uninstall UninstallOptions
	Test      TestOptions
	Drift     DriftOptions

	// Epoch counts attempts anew when it changes: a generation, or the token of a
	// reset.
	Epoch string
	// Force upgrades once for each new value, whatever the state, and although
	// retries are exhausted.
	Force string
}

// PostRenderer changes rendered objects. It may change those that it is given.
type PostRenderer struct {
	// Digest stands for what the function does: another one means an upgrade.
	Digest string
	Func   func(ctx context.Context, objects []*unstructured.Unstructured) ([]*unstructured.Unstructured, error)
}

// CRDPolicy says what becomes of the objects in a chart's crds directories.
type CRDPolicy string

// The policies. Whatever the policy, they are never deleted.
const (
	SkipCRDs          CRDPolicy = "Skip"          // leave them alone
	CreateCRDs        CRDPolicy = "Create"        // create those that do not exist
	CreateReplaceCRDs CRDPolicy = "CreateReplace" // and bring the others up to date
)

// Strategy says what follows on a failure.
type Strategy string

// The strategies.
const (
	// RemediateOnFailure undoes a failed attempt before the next one.
	RemediateOnFailure Strategy = "RemediateOnFailure"
	// RetryOnFailure upgrades again, over and over, and undoes nothing.
	RetryOnFailure Strategy = "RetryOnFailure"
)

// Remediation of failures. The zero value tries once and leaves a failure as it is.
type Remediation struct {
	// Retries after a failure; negative for no end.
	Retries int
	// LastFailure says whether the failure that no retry follows is undone too. By
	// default it is if there were retries and it was an upgrade.
	LastFailure *bool
	// IgnoreTestFailures leaves a release whose tests fail as it is.
	IgnoreTestFailures bool
}

// InstallOptions of the first installation, and of one after an uninstallation.
type InstallOptions struct {
	Timeout         time.Duration // Spec.Timeout by default
	CRDs            CRDPolicy     // default Create
	CreateNamespace bool
	DisableHooks    bool
	DisableWait     bool
	DisableJobs     bool // do not wait for Jobs to complete
	SkipSchema      bool // of the values
	TakeOwnership   bool // of objects that exist and belong to no release, or another
	Strategy        Strategy
	RetryInterval   time.Duration // of RetryOnFailure; default 5 minutes
	Remediation     Remediation   // a failed installation is uninstalled
}

// UpgradeOptions of every later change.
type UpgradeOptions struct {
	Timeout       time.Duration
	CRDs          CRDPolicy // default Skip
	DisableHooks  bool
	DisableWait   bool
	DisableJobs   bool
	SkipSchema    bool
	TakeOwnership bool
	Recreate      bool // delete and create what has an immutable field changed
	CleanupOnFail bool // delete what a failed upgrade created
	// PreserveValues merges the Spec's values over those of the last version.
	PreserveValues bool
	// InPlace upgrades to a chart of another name; by default the release is
	// uninstalled and installed.
	InPlace       bool
	Strategy      Strategy
	RetryInterval time.Duration
	Remediation   Remediation
	// UninstallFailed uninstalls after a failed upgrade, in place of a rollback.
	UninstallFailed bool
}

// RollbackOptions of the rollback that follows on a failed upgrade.
type RollbackOptions struct {
	Timeout       time.Duration
	DisableHooks  bool
	DisableWait   bool
	DisableJobs   bool
	Recreate      bool
	CleanupOnFail bool
}

// UninstallOptions of an uninstallation.
type UninstallOptions struct {
	Timeout      time.Duration
	DisableHooks bool
	DisableWait  bool // for the objects to be gone
	KeepHistory  bool
	// Propagation of the deletion to dependents: background (the default),
	// foreground or orphan.
	Propagation string
}

// TestOptions of the chart's tests.
type TestOptions struct {
	Enable         bool
	IgnoreFailures bool // do not remediate
	Timeout        time.Duration
	// Filters name tests. With one or more that do not exclude, only those run.
	Filters []TestFilter
}

// TestFilter names a test.
type TestFilter struct {
	Name    string
	Exclude bool
}

// WaitOptions of the wait for objects to be ready.
type WaitOptions struct {
	Disable bool
	// Checks judge objects before kstatus does, in their order.
	Checks []HealthCheck
}

// HealthCheck judges the objects of one kind.
type HealthCheck struct {
	Group, Kind string
	// Func returns one of the statuses of kstatus (Current, InProgress, Failed) and
	// why; an empty status leaves the object to the next check. It must not change
	// the object.
	Func func(ctx context.Context, obj *unstructured.Unstructured) (status, message string, err error)
}

// DriftMode says what is done about changes of live objects.
type DriftMode string

// The modes. The default is off.
const (
	DriftOff     DriftMode = ""
	DriftWarn    DriftMode = "warn"
	DriftCorrect DriftMode = "correct"
)

// DriftOptions say which changes of live objects matter.
type DriftOptions struct {
	Mode   DriftMode
	Ignore []IgnoreRule
	// OptOut names annotations that do what [DriftAnnotation] does.
	OptOut []string
}

func (s *Spec) complete() error {
	for _, part := range []struct{ field, text string }{
		{"Name", s.Name}, {"Namespace", s.Namespace}, {"StorageNamespace", s.StorageNamespace},
	} {
		if err := checkName(part.field, part.text); err != nil {
			return err
		}
	}
	if s.Chart == nil {
		return &SpecError{Field: "Chart", Reason: "it is missing"}
	}
	for field, d := range map[string]time.Duration{"Timeout": s.Timeout, "Install.Timeout": s.Install.Timeout, "Upgrade.Timeout": s.Upgrade.Timeout,
		"Rollback.Timeout": s.Rollback.Timeout, "Uninstall.Timeout": s.Uninstall.Timeout, "Test.Timeout": s.Test.Timeout} {
		if d < 0 {
			return &SpecError{Field: field, Reason: "it is negative"}
		}
	}
	for i, c := range s.Wait.Checks {
		if c.Func == nil || c.Kind == "" {
			return &SpecError{Field: fmt.Sprintf("Wait.Checks[%d]", i), Reason: "it has no kind or no function"}
		}
	}
	return s.checkChoices()
}

func (s *Spec) checkChoices() error {
	for _, c := range []struct {
		field, value string
		allowed      []string
	}{
		{"Install.CRDs", string(s.Install.CRDs), []string{"Skip", "Create", "CreateReplace"}},
		{"Upgrade.CRDs", string(s.Upgrade.CRDs), []string{"Skip", "Create", "CreateReplace"}},
		{"Install.Strategy", string(s.Install.Strategy), []string{"RemediateOnFailure", "RetryOnFailure"}},
		{"Upgrade.Strategy", string(s.Upgrade.Strategy), []string{"RemediateOnFailure", "RetryOnFailure"}},
		{"Uninstall.Propagation", s.Uninstall.Propagation, []string{"background", "foreground", "orphan"}},
		{"Drift.Mode", string(s.Drift.Mode), []string{"warn", "correct"}},
	} {
		if err := choice(c.field, c.value, c.allowed); err != nil {
			return err
		}
	}
	_, err := compileRules(s.Drift.Ignore)
	return err
}

func choice(field, value string, allowed []string) error {
	for _, a := range allowed {
		if value == "" || value == a {
			return nil
		}
	}
	return &SpecError{Field: field, Reason: fmt.Sprintf("%q is none of %v", value, allowed)}
}

func checkName(field, text string) error {
	if field == "Name" {
		if why := validation.IsDNS1123Subdomain(text); len(why) > 0 || len(text) > maxName {
			return &SpecError{Field: field, Reason: fmt.Sprintf("%q is no name of a release: at most %d lowercase letters, digits, dashes and dots", text, maxName)}
		}
		return nil
	}
	if why := validation.IsDNS1123Label(text); len(why) > 0 {
		return &SpecError{Field: field, Reason: fmt.Sprintf("%q: %s", text, why[0])}
	}
	return nil
}

func (s *Spec) withDefaults() Spec {
	out := *s
	or(&out.Namespace, "default")
	or(&out.StorageNamespace, out.Namespace)
	or(&out.Timeout, DefaultTimeout)
	or(&out.MaxHistory, DefaultMaxHistory)
	or(&out.Install.CRDs, CreateCRDs)
	or(&out.Upgrade.CRDs, SkipCRDs)
	for _, t := range []*time.Duration{&out.Install.Timeout, &out.Upgrade.Timeout, &out.Rollback.Timeout, &out.Uninstall.Timeout, &out.Test.Timeout} {
		or(t, out.Timeout)
	}
	or(&out.Install.Strategy, RemediateOnFailure)
	or(&out.Upgrade.Strategy, RemediateOnFailure)
	or(&out.Install.RetryInterval, DefaultRetryInterval)
	or(&out.Upgrade.RetryInterval, DefaultRetryInterval)
	or(&out.Uninstall.Propagation, "background")
	return out
}

func or[T comparable](value *T, other T) {
	var zero T
	if *value == zero {
		*value = other
	}
}

// intent is the digest of what a release is made from.
func (s *Spec) intent() (string, error) {
	values := s.Values
	if values == nil {
		values = map[string]any{}
	}
	parts := []any{s.Chart.Digest(), values, s.Labels, s.Annotations}
	for _, p := range s.PostRenderers {
		parts = append(parts, p.Digest)
	}
	text, err := json.Marshal(parts)
	if err != nil {
		return "", &SpecError{Field: "Values", Reason: "they cannot be written as JSON"}
	}
	return "sha256:" + sum(string(text)), nil
}

// config is the values as Helm stores them.
func (s *Spec) config() (json.RawMessage, error) {
	if len(s.Values) == 0 {
		return nil, nil
	}
	return json.Marshal(s.Values)
}
