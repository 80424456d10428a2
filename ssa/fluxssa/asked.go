package fluxssa

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/gc"
	"github.com/gitopskit/gitopskit/ssa"
)

// What package ssa can do and this engine cannot is refused: an object that asks to
// be left alone and is overwritten would be worse than an error.

func checkApply(o ssa.ApplyOptions) error {
	const instead = "the engine of Flux cannot do that; set what it has for it in Options.Apply, or use an ssa.Applier"
	for _, asked := range []struct {
		option string
		is     bool
	}{
		{"Policy", o.Policy != "" && o.Policy != ssa.Override},
		{"Conflicts", o.Conflicts != "" && o.Conflicts != ssa.TakeOver},
		{"Validate", o.Validate},
		{"WaitForDependencies", o.WaitForDependencies},
		{"Ignore", len(o.Ignore) > 0},
	} {
		if asked.is {
			return &ssa.OptionError{Option: "ApplyOptions." + asked.option, Reason: "is set: " + instead}
		}
	}
	return nil
}

func checkWait(o ssa.WaitOptions) error {
	switch {
	case len(o.Checks) > 0:
		return errors.New("wait: WaitOptions.Checks are set: the engine of Flux cannot be given any after its ResourceManager was made; give them to its poller")
	case o.GoneJobs:
		return errors.New("wait: WaitOptions.GoneJobs is set: name these Jobs in Options.Wait.JobsWithTTL")
	case o.Undecided != "" && o.Undecided != ssa.Current:
		return fmt.Errorf("wait: WaitOptions.Undecided is %q: the engine of Flux takes these objects for Current", o.Undecided)
	}
	return nil
}

// checkObject refuses an object that asks for what the engine does not know.
func checkObject(obj *unstructured.Unstructured, key gc.Key) error {
	for annotation, fine := range map[string]string{ssa.PolicyAnnotation: string(ssa.Override), ssa.ConflictAnnotation: string(ssa.TakeOver)} {
		if v, ok := obj.GetAnnotations()[annotation]; ok && !strings.EqualFold(v, fine) {
			return &ssa.ObjectError{Key: key, Op: "apply", Reason: fmt.Sprintf(
				"annotation %s asks for what the engine of Flux cannot do; use Flux's own annotations, or an ssa.Applier", annotation)}
		}
	}
	return nil
}
