package release

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/gitopskit/gitopskit/helm"
)

// Annotations and labels by which Helm knows its objects.
const (
	managedByLabel      = "app.kubernetes.io/managed-by"
	managedBy           = "Helm"
	nameAnnotation      = "meta.helm.sh/release-name"
	namespaceAnnotation = "meta.helm.sh/release-namespace"
	policyAnnotation    = "helm.sh/resource-policy"
	hookAnnotation      = "helm.sh/hook"
)

// rendered is a chart as a release holds it.
type rendered struct {
	manifest string
	hooks    []*hook
	crds     []*unstructured.Unstructured
	notes    string
}

// render renders the desired release as a version of it.
func (j *job) render(ctx context.Context, version int, upgrade, skipSchema bool) (*rendered, error) {
	kube, served, err := j.types.capabilities(ctx)
	if err != nil {
		return nil, err
	}
	out, err := j.spec.Chart.Render(ctx, helm.RenderOptions{
		ReleaseName: j.spec.Name, Namespace: j.spec.Namespace, Values: j.spec.Values,
		Revision: version, IsUpgrade: upgrade, SkipSchema: skipSchema, KubeVersion: kube, APIVersions: served,
	})
	if err != nil {
		return nil, err
	}
	objects := out.Objects
	for i, p := range j.spec.PostRenderers {
		if objects, err = p.Func(ctx, objects); err != nil {
			return nil, fmt.Errorf("post-renderer %d: %w", i+1, err)
		}
	}
	r := &rendered{crds: out.CRDs, notes: out.Notes}
	if r.manifest, err = j.manifest(out, objects); err != nil {
		return nil, err
	}
	for _, obj := range out.Hooks {
		h, err := hookOf(obj, out.Source(obj))
		if err != nil {
			return nil, err
		}
		r.hooks = append(r.hooks, h)
	}
	return r, nil
}

// manifest writes objects as Helm does.
func (j *job) manifest(out *helm.Rendered, objects []*unstructured.Unstructured) (string, error) {
	var b strings.Builder
	seen := map[Object]bool{}
	for _, obj := range objects {
		if obj == nil || obj.GetKind() == "" || obj.GetAPIVersion() == "" || obj.GetName() == "" {
			return "", &manifestError{errors.New("an object has no apiVersion, no kind or no name")}
		}
		key := objectOf(obj).same()
		if seen[key] {
			return "", &manifestError{fmt.Errorf("%s is there twice", key)}
		}
		seen[key] = true
		source := out.Source(obj)
		if len(j.spec.Labels)+len(j.spec.Annotations) > 0 {
			obj = obj.DeepCopy()
			obj.SetLabels(merged(obj.GetLabels(), j.spec.Labels))
			obj.SetAnnotations(merged(obj.GetAnnotations(), j.spec.Annotations))
		}
		text, err := yaml.Marshal(obj.Object)
		if err != nil {
			return "", fmt.Errorf("write %s: %w", objectOf(obj), err)
		}
		b.WriteString("---\n")
		if source != "" {
			b.WriteString("# Source: " + source + "\n")
		}
		b.Write(text)
	}
	return b.String(), nil
}

func merged(a, b map[string]string) map[string]string {
	if len(b) == 0 {
		return a
	}
	out := map[string]string{}
	maps.Copy(out, a)
	maps.Copy(out, b)
	return out
}

// hookOf reads the annotations of a hook.
func hookOf(obj *unstructured.Unstructured, source string) (*hook, error) {
	text, err := yaml.Marshal(obj.Object)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", objectOf(obj), err)
	}
	annotations := obj.GetAnnotations()
	h := &hook{Name: obj.GetName(), Kind: obj.GetKind(), Path: source, Manifest: string(text),
		DeletePolicies:    words(annotations["helm.sh/hook-delete-policy"]),
		OutputLogPolicies: words(annotations["helm.sh/hook-output-log-policy"])}
	for _, event := range words(annotations[hookAnnotation]) {
		if event == "test-success" {
			event = "test"
		}
		h.Events = append(h.Events, event)
	}
	if weight, err := strconv.Atoi(annotations["helm.sh/hook-weight"]); err == nil {
		h.Weight = weight
	}
	return h, nil
}

func words(text string) []string {
	var out []string
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.ToLower(strings.TrimSpace(word)); word != "" {
			out = append(out, word)
		}
	}
	return out
}

// maxObjects bounds the objects of a stored manifest.
const maxObjects = 20_000

// parse reads a manifest.
func parse(manifest string) ([]*unstructured.Unstructured, error) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(manifest)))
	var out []*unstructured.Unstructured
	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the stored manifest: %w", err)
		}
		objects, err := document(doc)
		if err != nil {
			return nil, fmt.Errorf("read the stored manifest: %w", err)
		}
		if out = append(out, objects...); len(out) > maxObjects {
			return nil, fmt.Errorf("the stored manifest has more than %d objects", maxObjects)
		}
	}
}

func document(doc []byte) ([]*unstructured.Unstructured, error) {
	text, err := yaml.YAMLToJSON(doc)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(bytes.TrimSpace(text), []byte("null")) {
		return nil, nil
	}
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON(text); err != nil {
		return nil, err
	}
	if !obj.IsList() {
		return []*unstructured.Unstructured{obj}, nil
	}
	var out []*unstructured.Unstructured
	err = obj.EachListItem(func(item runtime.Object) error {
		if u, ok := item.(*unstructured.Unstructured); ok {
			out = append(out, u)
		}
		return nil
	})
	return out, err
}

// own marks an object as the release's.
func (j *job) own(obj *unstructured.Unstructured) {
	obj.SetLabels(merged(obj.GetLabels(), map[string]string{managedByLabel: managedBy}))
	obj.SetAnnotations(merged(obj.GetAnnotations(), map[string]string{
		nameAnnotation: j.spec.Name, namespaceAnnotation: j.spec.Namespace}))
}

// owner says why an object is not the release's, or nothing.
func (j *job) foreign(labels, annotations map[string]string) string {
	switch name, namespace := annotations[nameAnnotation], annotations[namespaceAnnotation]; {
	case name != "" && (name != j.spec.Name || namespace != j.spec.Namespace):
		return fmt.Sprintf("it belongs to release %s in namespace %s", name, namespace)
	case name == "" || labels[managedByLabel] != managedBy:
		return "it belongs to no release"
	}
	return ""
}

// inOrder sorts objects by kind, and returns those of one kind together.
func inOrder(objects []*unstructured.Unstructured, order releaseutil.KindSortOrder) [][]*unstructured.Unstructured {
	rank := make(map[string]int, len(order))
	for i, kind := range order {
		rank[kind] = i + 1
	}
	of := func(u *unstructured.Unstructured) int {
		if r := rank[u.GetKind()]; r > 0 {
			return r
		}
		return len(order) + 1
	}
	sorted := slices.Clone(objects)
	slices.SortStableFunc(sorted, func(a, b *unstructured.Unstructured) int {
		if c := of(a) - of(b); c != 0 {
			return c
		}
		return strings.Compare(a.GetKind(), b.GetKind())
	})
	return slices.Collect(chunks(sorted))
}

func chunks(sorted []*unstructured.Unstructured) func(yield func([]*unstructured.Unstructured) bool) {
	return func(yield func([]*unstructured.Unstructured) bool) {
		for start := 0; start < len(sorted); {
			end := start
			for end < len(sorted) && sorted[end].GetKind() == sorted[start].GetKind() {
				end++
			}
			if !yield(sorted[start:end]) {
				return
			}
			start = end
		}
	}
}
