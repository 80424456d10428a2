package kube_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/gitopskit/gitopskit/internal/kube"
)

var things = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "things"}

// lister serves a list in pages of two, in protobuf or JSON.
func lister(t *testing.T, items []metav1.PartialObjectMetadata, protobuf bool) *kube.Client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		to := min(from+2, len(items))
		list := &metav1.PartialObjectMetadataList{Items: items[from:to]}
		list.ResourceVersion = "77"
		if to < len(items) {
			list.Continue = strconv.Itoa(to)
		}
		if !protobuf {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(list)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf")
		_, _ = w.Write(envelope(t, list))
	}))
	t.Cleanup(srv.Close)
	c, err := kube.New(&rest.Config{Host: srv.URL})
	require.NoError(t, err)
	return c
}

func envelope(t testing.TB, list *metav1.PartialObjectMetadataList) []byte {
	t.Helper()
	raw, err := list.Marshal()
	require.NoError(t, err)
	unknown := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"}, Raw: raw}
	data, err := unknown.Marshal()
	require.NoError(t, err)
	return append([]byte("k8s\x00"), data...)
}

func thing(i int) metav1.PartialObjectMetadata {
	m := metav1.PartialObjectMetadata{}
	m.Name, m.Namespace, m.UID, m.ResourceVersion = fmt.Sprint("thing-", i), "default", types.UID(fmt.Sprint("uid-", i)), fmt.Sprint(1000+i)
	m.Generation = int64(i)
	m.Labels, m.Annotations = map[string]string{"a": "b"}, map[string]string{"c": "d"}
	m.Finalizers = []string{"example.com/f"}
	if i%2 == 1 {
		at := metav1.NewTime(time.Unix(1_700_000_000, 0))
		m.DeletionTimestamp = &at
	}
	m.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kit", Operation: metav1.ManagedFieldsOperationApply, Subresource: "status",
		APIVersion: "v1", FieldsV1: metav1.NewFieldsV1(`{"f:a":{}}`)}}
	return m
}

func TestScan(t *testing.T) {
	for name, protobuf := range map[string]bool{"protobuf": true, "JSON": false} {
		for _, count := range []int{0, 1, 2, 5} {
			t.Run(fmt.Sprintf("%s of %d", name, count), func(t *testing.T) {
				var items []metav1.PartialObjectMetadata
				for i := range count {
					items = append(items, thing(i))
				}
				seen := 0
				version, err := lister(t, items, protobuf).Scan(t.Context(), things, "default", "a=b", func(l *kube.Listed) error {
					agree(t, items[seen], l)
					seen++
					return nil
				})
				require.NoError(t, err)
				require.Equal(t, "77", version)
				require.Equal(t, count, seen)
			})
		}
	}
}

// agree holds that the glance and the metadata say the same.
func agree(t testing.TB, want metav1.PartialObjectMetadata, l *kube.Listed) {
	t.Helper()
	require.Equal(t, want.Name, string(l.Name))
	require.Equal(t, string(want.UID), string(l.UID))
	require.Equal(t, want.ResourceVersion, string(l.ResourceVersion))
	require.Equal(t, want.Generation, l.Generation)
	require.Equal(t, want.DeletionTimestamp != nil, l.Deleting)
	annotations := map[string]string{}
	for _, a := range l.Annotations {
		annotations[string(a.Key)] = string(a.Value)
	}
	require.Len(t, annotations, len(want.Annotations))
	for k, v := range want.Annotations {
		require.Equal(t, v, annotations[k])
	}
	require.Len(t, l.Writers, len(want.ManagedFields))
	for i, w := range want.ManagedFields {
		require.Equal(t, [3]string{w.Manager, string(w.Operation), w.Subresource},
			[3]string{string(l.Writers[i].Manager), string(l.Writers[i].Operation), string(l.Writers[i].Subresource)})
	}
	m, err := l.Metadata()
	require.NoError(t, err)
	require.Equal(t, want.Name, m.Name)
	require.Len(t, m.ManagedFields, len(want.ManagedFields))
}

// The server may be asked for the next page while one is read. What is wrong with
// either ends the list with an error, never with less than there is.
func TestScanFailsAsAWhole(t *testing.T) {
	whole := &metav1.PartialObjectMetadataList{Items: []metav1.PartialObjectMetadata{thing(0), thing(2)}}
	whole.ResourceVersion = "1"
	data := envelope(t, whole)
	whole.Continue = "x"
	first := envelope(t, whole)
	for name, second := range map[string]func(http.ResponseWriter){
		"cut off":      func(w http.ResponseWriter) { _, _ = w.Write(data[:len(data)-7]) },
		"empty":        func(http.ResponseWriter) {},
		"not a list":   func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) },
		"refused":      func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) },
		"broken off":   func(w http.ResponseWriter) { w.Header().Set("Content-Length", "9999"); _, _ = w.Write(data) },
		"too much":     func(w http.ResponseWriter) { _, _ = w.Write(append(data[:len(data):len(data)], 0xff)) },
		"wrong inside": func(w http.ResponseWriter) { _, _ = w.Write([]byte("k8s\x00\x12\x04\x0a\x01\x12\x12")) },
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf")
				if r.URL.Query().Get("continue") == "" {
					_, _ = w.Write(first)
					return
				}
				second(w)
			}))
			defer srv.Close()
			c, err := kube.New(&rest.Config{Host: srv.URL})
			require.NoError(t, err)
			_, err = c.Scan(t.Context(), things, "default", "", func(*kube.Listed) error { return nil })
			require.Error(t, err)
		})
	}
}

func FuzzListed(f *testing.F) {
	for i := range 2 {
		m := thing(i)
		raw, err := m.Marshal()
		require.NoError(f, err)
		f.Add(raw)
	}
	f.Add([]byte("\x0a\x02\x0a\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l := &kube.Listed{}
		if kube.Decode(l, raw) != nil {
			return
		}
		m, err := l.Metadata()
		if err != nil {
			return // a glance may accept what is malformed elsewhere
		}
		require.Equal(t, m.Name, string(l.Name))
		require.Equal(t, m.ResourceVersion, string(l.ResourceVersion))
		require.Equal(t, string(m.UID), string(l.UID))
		require.Equal(t, m.Generation, l.Generation)
		require.Equal(t, m.DeletionTimestamp != nil, l.Deleting)
		require.Len(t, l.Writers, len(m.ManagedFields))
	})
}
