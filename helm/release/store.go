package release

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitopskit/gitopskit/internal/kube"
)

// Helm's storage: one Secret for each version of a release.
const (
	storagePrefix = "sh.helm.release.v1."
	storageType   = "helm.sh/release.v1"
	// markLabel holds what this engine knows its own versions by. Helm carries
	// labels on to the versions that it makes, so the mark names its version.
	markLabel = "gitopskit.dev/release"
)

// systemLabels are those of Helm itself.
var systemLabels = [...]string{"name", "owner", "status", "version", "createdAt", "modifiedAt"}

// store holds the versions of one release.
type store struct {
	client    *kube.Client
	namespace string
	name      string
}

// stored is one version as the list shows it.
type stored struct {
	version         int
	status          Status
	resourceVersion string
	uid             string
	labels          map[string]string
}

func secrets() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
}

func (s *store) key(version int) string {
	return storagePrefix + s.name + ".v" + strconv.Itoa(version)
}

// list returns what is stored, the oldest first, in one request.
func (s *store) list(ctx context.Context) ([]stored, error) {
	selector := labels.Set{"name": s.name, "owner": "helm"}.String()
	var all []stored
	err := s.client.ListMetadata(ctx, secrets(), s.namespace, selector, func(m *metav1.PartialObjectMetadata) {
		// The name decides about the version: labels are easily edited.
		text, ok := strings.CutPrefix(m.Name, storagePrefix+s.name+".v")
		version, err := strconv.Atoi(text)
		if !ok || err != nil || version < 1 {
			return
		}
		all = append(all, stored{version, Status(m.Labels["status"]), m.ResourceVersion, string(m.UID), m.Labels})
	})
	if err != nil {
		return nil, s.fault("list the versions", err)
	}
	slices.SortFunc(all, func(a, b stored) int { return cmp.Compare(a.version, b.version) })
	return all, nil
}

// kept is a version together with where it is kept.
type kept struct {
	*record
	digest          string // of the data
	resourceVersion string
	labels          map[string]string
}

// get reads one version. A version that cannot be read as one is a *RecordError.
func (s *store) get(ctx context.Context, version int) (*kept, error) {
	obj, err := s.client.Get(ctx, kube.Target{GroupVersionResource: secrets(), Namespace: s.namespace, Name: s.key(version)})
	if err != nil {
		return nil, s.fault(fmt.Sprintf("read version %d", version), err)
	}
	text, _, _ := unstructured.NestedString(obj.Object, "data", "release")
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, s.corrupt(version, errNotRecord)
	}
	r, err := decode(string(data))
	if err != nil {
		return nil, s.corrupt(version, err)
	}
	if r.Name != s.name || r.Version != version {
		return nil, s.corrupt(version, fmt.Errorf("%w: it says that it is version %d of %s", errNotRecord, r.Version, r.Name))
	}
	return &kept{r, storedDigest(string(data)), obj.GetResourceVersion(), obj.GetLabels()}, nil
}

func (s *store) corrupt(version int, err error) error {
	return &RecordError{Namespace: s.namespace, Name: s.key(version), Err: err}
}

// create stores a new version.
func (s *store) create(ctx context.Context, k *kept) error {
	obj, data, err := s.secret(k, "createdAt")
	if err != nil {
		return err
	}
	made, err := s.client.Dynamic.Resource(secrets()).Namespace(s.namespace).Create(ctx, obj, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return &BusyError{Release: s.name, Version: k.Version}
	}
	return s.done(k, made, data, err)
}

// update stores what has become of a version, if nobody else changed it meanwhile.
func (s *store) update(ctx context.Context, k *kept) error {
	obj, data, err := s.secret(k, "modifiedAt")
	if err != nil {
		return err
	}
	obj.SetResourceVersion(k.resourceVersion)
	made, err := s.client.Dynamic.Resource(secrets()).Namespace(s.namespace).Update(ctx, obj, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return &BusyError{Release: s.name, Version: k.Version}
	}
	return s.done(k, made, data, err)
}

func (s *store) done(k *kept, made *unstructured.Unstructured, data string, err error) error {
	if err != nil {
		return s.fault(fmt.Sprintf("store version %d", k.Version), err)
	}
	k.digest, k.resourceVersion, k.labels = storedDigest(data), made.GetResourceVersion(), made.GetLabels()
	return nil
}

// maxStored is what fits into a Secret.
const maxStored = 1 << 20

func (s *store) secret(k *kept, when string) (obj *unstructured.Unstructured, data string, err error) {
	if data, err = k.encode(); err != nil {
		return nil, "", err
	}
	if len(data) > maxStored {
		return nil, "", &TooLargeError{Release: s.name, Bytes: len(data)}
	}
	all := map[string]any{}
	for name, value := range k.labels {
		all[name] = value
	}
	all[when] = strconv.FormatInt(time.Now().Unix(), 10)
	all["name"], all["owner"], all["status"], all["version"] = s.name, "helm", string(k.Info.Status), strconv.Itoa(k.Version)
	if mark := k.labels[markLabel]; mark == "" {
		delete(all, markLabel)
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "Secret",
		"metadata":   map[string]any{"name": s.key(k.Version), "labels": all},
		"type":       storageType,
		"data":       map[string]any{"release": base64.StdEncoding.EncodeToString([]byte(data))},
	}}, data, nil
}

// remove deletes versions.
func (s *store) remove(ctx context.Context, versions ...int) error {
	for _, v := range versions {
		_, err := s.client.Delete(ctx, kube.Target{GroupVersionResource: secrets(), Namespace: s.namespace, Name: s.key(v)}, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return s.fault(fmt.Sprintf("delete version %d", v), err)
		}
	}
	return nil
}

// prune leaves as many versions as there may be, one that is deployed among them.
func (s *store) prune(ctx context.Context, all []stored, most int) error {
	if most <= 0 || len(all) <= most {
		return nil
	}
	deployed := 0
	for _, v := range all {
		if v.status == Deployed {
			deployed = v.version
		}
	}
	surplus := len(all) - most
	var gone []int
	for _, v := range all {
		if len(gone) < surplus && v.version != deployed {
			gone = append(gone, v.version)
		}
	}
	return s.remove(ctx, gone...)
}

func (s *store) fault(op string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("release %s: %s: %w", s.name, op, err)
	}
	return &StorageError{Release: s.name, Namespace: s.namespace, Op: op, Err: kube.Redact(err)}
}

// userLabels are the labels of a version that are not Helm's own.
func userLabels(all map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range all {
		if !slices.Contains(systemLabels[:], k) && k != markLabel {
			out[k] = v
		}
	}
	return out
}
