package fluxssa

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/object"
	flux "github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/utils"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/ssa"
)

// errWithheld stands for what the engine says about a Secret.
var errWithheld = errors.New("the engine failed (details withheld: they may quote a secret value)")

// report makes a complete result of what the manager tells, in the order of the
// set.
func report(entries []gc.Entry, changes *flux.ChangeSet, err error) (*ssa.Result, error) {
	told := map[gc.Key]ssa.Change{}
	if changes != nil {
		for _, c := range changes.Entries {
			told[keyOf(c.ObjMetadata)] = change(c)
		}
	}
	culprit, err := blame(entries, told, err)
	res := &ssa.Result{Entries: gc.NewInventory(entries...)}
	var failed []ssa.Change
	for _, e := range entries {
		c, ok := told[e.Key]
		switch {
		case ok:
		case culprit == e.Key:
			c = ssa.Change{Key: e.Key, Action: ssa.Failed, Err: &ssa.ObjectError{Key: e.Key, Op: "apply", Reason: err.Error(), Err: err}}
		case culprit != gc.Key{}:
			c = untold(e.Key, nil)
		default:
			c = untold(e.Key, err)
		}
		res.Changes = append(res.Changes, c)
		if c.Err != nil {
			failed = append(failed, c)
		}
	}
	if len(failed) > 0 {
		return res, &ssa.ApplyError{Failed: failed, Total: len(entries)}
	}
	return res, err
}

// blame finds the object that an error of the manager is about: its text begins
// with the name. The error that it returns quotes no Secret.
func blame(entries []gc.Entry, told map[gc.Key]ssa.Change, err error) (gc.Key, error) {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return gc.Key{}, err
	}
	for _, e := range entries {
		id := object.ObjMetadata{GroupKind: e.GVK().GroupKind(), Namespace: e.Namespace, Name: e.Name}
		if _, ok := told[e.Key]; ok || !strings.HasPrefix(err.Error(), utils.FmtObjMetadata(id)+" ") {
			continue
		}
		if e.Kind == "Secret" { // of whatever group: the name has none
			return e.Key, errWithheld
		}
		return e.Key, err
	}
	if slices.ContainsFunc(entries, func(e gc.Entry) bool { return e.Kind == "Secret" }) {
		return gc.Key{}, errWithheld
	}
	return gc.Key{}, err
}

// untold is the outcome of an object that the manager says nothing about.
func untold(key gc.Key, err error) ssa.Change {
	reason := ErrUntold.Error()
	if err != nil {
		reason = err.Error() + ", and " + reason
	}
	e := &ssa.ObjectError{Key: key, Op: "skip", Reason: reason, Err: errors.Join(ErrUntold, err)}
	return ssa.Change{Key: key, Action: ssa.Skipped, Err: e}
}
