package gc

import (
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// maxQuoted bounds what somebody else wrote and a message repeats, in bytes.
const maxQuoted = 512

// Annotations that keep an object when it leaves its set, with the value
// "disabled" in any case. The second is the one that manifests in the field already
// carry; see the package documentation for the others that are honoured.
const (
	PruneAnnotation     = "gitopskit.dev/prune"
	FluxPruneAnnotation = "kustomize.toolkit.fluxcd.io/prune"
)

// PropagationAnnotation says for one object what becomes of its dependents when
// it is deleted: "background", "foreground" or "orphan", in any case.
const PropagationAnnotation = "gitopskit.dev/propagation"

// SyncOptionsAnnotation is Argo CD's, a comma-separated list: Prune=false keeps an
// object that leaves its set, and Prune=confirm makes the guard ask.
const SyncOptionsAnnotation = "argocd.argoproj.io/sync-options"

// hasSyncOption reports whether an object carries an option of Argo CD's.
func hasSyncOption(meta *metav1.PartialObjectMetadata, option string) bool {
	for o := range strings.SplitSeq(meta.Annotations[SyncOptionsAnnotation], ",") {
		if strings.EqualFold(strings.TrimSpace(o), option) {
			return true
		}
	}
	return false
}

// keepMark finds what asks for an object to be kept: annotations, and in Flux's
// words labels as well, in any case as there.
func keepMark(meta *metav1.PartialObjectMetadata) string {
	if hasSyncOption(meta, "Prune=false") {
		return "annotation " + SyncOptionsAnnotation + ": Prune=false"
	}
	for _, m := range [...]struct {
		key, value string
		label      bool
	}{
		{PruneAnnotation, "disabled", false},
		{FluxPruneAnnotation, "disabled", true},
		{"kustomize.toolkit.fluxcd.io/reconcile", "disabled", true},
		{"kustomize.toolkit.fluxcd.io/ssa", "ignore", true},
		{"client.lifecycle.config.k8s.io/deletion", "detach", false},
		{"cli-utils.sigs.k8s.io/on-remove", "keep", false},
		{"helm.sh/resource-policy", "keep", false},
	} {
		if strings.EqualFold(strings.TrimSpace(meta.Annotations[m.key]), m.value) {
			return "annotation " + m.key + ": " + m.value
		}
		if m.label && strings.EqualFold(meta.Labels[m.key], m.value) {
			return "label " + m.key + ": " + m.value
		}
	}
	return ""
}

// judge says why an object that is still there must not be deleted, if so; or, to
// let it go, why it is not ours.
func (c *candidate) judge(opts PruneOptions, letGo bool) (Outcome, string) {
	meta := c.meta
	if why := keepMark(meta); why != "" && !letGo {
		return Orphaned, why
	}
	if c.pinned != "" && c.pinned != meta.UID {
		return Foreign, "somebody deleted ours and made another of the same name"
	}
	if got := meta.Labels[OwnerLabel]; got != opts.Owner {
		return Foreign, fmt.Sprintf("label %s is %q, not %q", OwnerLabel, got, opts.Owner)
	}
	switch recorded := c.entry.UID; {
	case recorded == meta.UID:
	case recorded != "" && !appliedBy(meta, managerOr(opts.Manager)):
		return Foreign, "somebody deleted ours and made another of the same name"
	case recorded == "" && opts.Manager != "" && !appliedBy(meta, opts.Manager):
		return Foreign, fmt.Sprintf("it carries our label, and field manager %q never applied it", opts.Manager)
	}
	return "", ""
}

func managerOr(name string) string {
	if name == "" {
		return DefaultManager
	}
	return name
}

// appliedBy reports whether a field manager applied the owner label: then it
// applied this very object, whatever UID is on record. The label alone may have
// come with a copy of ours.
func appliedBy(meta *metav1.PartialObjectMetadata, manager string) bool {
	for _, e := range meta.ManagedFields {
		if e.Manager != manager || e.Operation != metav1.ManagedFieldsOperationApply || e.Subresource != "" || e.FieldsV1 == nil {
			continue
		}
		var owned struct {
			Metadata struct {
				Labels map[string]json.RawMessage `json:"f:labels"`
			} `json:"f:metadata"`
		}
		if json.Unmarshal(e.FieldsV1.GetRawBytes(), &owned) != nil {
			return false
		}
		_, ok := owned.Metadata.Labels["f:"+OwnerLabel]
		return ok
	}
	return false
}

// propagation is the policy for one object: its annotation's, or the caller's.
func (c *candidate) propagation(opts PruneOptions) (metav1.DeletionPropagation, error) {
	text := c.meta.Annotations[PropagationAnnotation]
	if text == "" {
		return opts.Propagation, nil
	}
	for _, p := range []metav1.DeletionPropagation{metav1.DeletePropagationBackground, metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan} {
		if strings.EqualFold(text, string(p)) {
			return p, nil
		}
	}
	return "", fmt.Errorf("its annotation %s is %q; it must be background, foreground or orphan", PropagationAnnotation, clip.Quote(text, maxQuoted))
}
