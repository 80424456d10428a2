package gc

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Labels and annotations of an ApplySet, as Kubernetes' enhancement 3659 defines
// them. Tools that know ApplySets see which objects belong together by them.
const (
	ApplySetIDLabel              = "applyset.kubernetes.io/id"                    // on the parent
	ApplySetPartOfLabel          = "applyset.kubernetes.io/part-of"               // on each member
	ApplySetToolingAnnotation    = "applyset.kubernetes.io/tooling"               // on the parent: "name/version"
	ApplySetGroupKindsAnnotation = "applyset.kubernetes.io/contains-group-kinds"  // on the parent: "ConfigMap,Deployment.apps"
	ApplySetNamespacesAnnotation = "applyset.kubernetes.io/additional-namespaces" // on the parent: those beside its own
)

// ApplySetID is the identity of the ApplySet with that parent object.
func ApplySetID(parent Key) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{parent.Name, parent.Namespace, parent.Kind, parent.Group}, ".")))
	return "applyset-" + base64.RawURLEncoding.EncodeToString(sum[:]) + "-v1"
}

// ApplySetMember returns the label of the members of the ApplySet with that parent.
func ApplySetMember(parent Key) map[string]string {
	return map[string]string{ApplySetPartOfLabel: ApplySetID(parent)}
}

// ApplySetParent returns the labels and annotations that make parent the parent of
// an ApplySet whose members are inv. Tooling names the tool that manages it, as in
// "shop/v1.4.0". Write them before the members are applied, and for the union of
// old and new ones, so that no member is ever outside of what they announce.
func ApplySetParent(parent Key, inv Inventory, tooling string) (labels, annotations map[string]string) {
	kinds, namespaces := map[string]bool{}, map[string]bool{}
	for _, e := range inv {
		kinds[schema.GroupKind{Group: e.Group, Kind: e.Kind}.String()] = true
		if e.Namespace != "" && e.Namespace != parent.Namespace {
			namespaces[e.Namespace] = true
		}
	}
	return map[string]string{ApplySetIDLabel: ApplySetID(parent)}, map[string]string{
		ApplySetToolingAnnotation:    tooling,
		ApplySetGroupKindsAnnotation: commaList(kinds),
		ApplySetNamespacesAnnotation: commaList(namespaces),
	}
}

func commaList(set map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(set)), ",")
}
