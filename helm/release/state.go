package release

import "time"

// State is what the next Reconcile has to know of this one. Callers keep it, as
// JSON, where they keep the status of the release, and give it back. It holds no
// values and no objects, but the versions of the latter. Without it a release
// that this engine made is recognised by its mark, and any other one is taken over
// by an upgrade.
type State struct {
	// Target of the release: where it changes, the old one is uninstalled.
	Name             string `json:"name,omitempty"`
	Namespace        string `json:"namespace,omitempty"`
	StorageNamespace string `json:"storageNamespace,omitempty"`

	// History of what was observed, the latest version first.
	History  []Snapshot `json:"history,omitempty"`
	Attempts Attempts   `json:"attempts,omitzero"`
	// Forced is the last Spec.Force that was honoured.
	Forced string `json:"forced,omitempty"`
	// Live are the objects as they were when they last matched the release.
	Live []LiveObject `json:"live,omitempty"`
}

// Snapshot is one version as it was after this engine was done with it.
type Snapshot struct {
	Version         int                  `json:"version"`
	ResourceVersion string               `json:"resourceVersion,omitempty"` // of the Secret
	Digest          string               `json:"digest"`                    // of the stored record
	Intent          string               `json:"intent"`                    // of the Spec
	Content         string               `json:"content"`                   // digest of what a rollback would bring back
	Status          Status               `json:"status"`
	Action          Action               `json:"action,omitempty"`
	ChartName       string               `json:"chartName"`
	ChartVersion    string               `json:"chartVersion"`
	AppVersion      string               `json:"appVersion,omitempty"`
	ConfigDigest    string               `json:"configDigest"`
	FirstDeployed   time.Time            `json:"firstDeployed,omitzero"`
	LastDeployed    time.Time            `json:"lastDeployed,omitzero"`
	Tests           map[string]TestPhase `json:"tests,omitempty"`
	Tested          bool                 `json:"tested,omitempty"`
}

// TestPhase is what became of a test.
type TestPhase struct {
	Phase     string    `json:"phase"`
	Started   time.Time `json:"started,omitzero"`
	Completed time.Time `json:"completed,omitzero"`
}

func (s *Snapshot) testsFailed() bool {
	for _, t := range s.Tests {
		if t.Phase == hookFailed {
			return true
		}
	}
	return false
}

// Attempts at one intent in one epoch.
type Attempts struct {
	Key             string `json:"key,omitempty"` // what is attempted
	InstallFailures int    `json:"installFailures,omitempty"`
	UpgradeFailures int    `json:"upgradeFailures,omitempty"`
	// Last action that failed, and how.
	LastAction Action `json:"lastAction,omitempty"`
	LastError  string `json:"lastError,omitempty"`
	// Remediated says that the last failure was undone, as far as it is to be.
	Remediated bool `json:"remediated,omitempty"`
	// Stalled says that no retries remain.
	Stalled bool `json:"stalled,omitempty"`
}

// Failures of all kinds.
func (a *Attempts) Failures() int { return a.InstallFailures + a.UpgradeFailures }

// LiveObject is an object that matched the release at a version of its own.
type LiveObject struct {
	Object          Object `json:"object"`
	Resource        string `json:"resource"`
	UID             string `json:"uid"`
	ResourceVersion string `json:"resourceVersion"`
}

func (s *State) latest() *Snapshot {
	if len(s.History) == 0 {
		return nil
	}
	return &s.History[0]
}

func (s *State) snapshot(version int) *Snapshot {
	for i := range s.History {
		if s.History[i].Version == version {
			return &s.History[i]
		}
	}
	return nil
}

// observe puts a snapshot in its place.
func (s *State) observe(snap Snapshot, most int) {
	if most <= 0 || most > maxSnapshots {
		most = maxSnapshots
	}
	history := []Snapshot{snap}
	for _, old := range s.History {
		if old.Version < snap.Version && len(history) < most {
			history = append(history, old)
		}
	}
	s.History = history
}

const maxSnapshots = 10

func (s State) clone() State {
	s.History = append([]Snapshot(nil), s.History...)
	s.Live = append([]LiveObject(nil), s.Live...)
	return s
}
