package ssa

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitopskit/gitopskit/gc"
)

// Inventories of earlier releases hold these digests: another form would send each
// object once more.
var digests = map[string]string{
	`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","creationTimestamp":null,"uid":"x"},"data":{"k":"v","":"ü"},"status":{"a":1}}`:                            "etND2InJtzQ1qk7lZRWo7g",
	`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","labels":{"b":"c"},"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}},"data":null}`: "U37TPYalf0nABIJoeOuBvQ",
	`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a","annotations":{"b":"c"}},"data":{"a":"eA=="},"stringData":{"a":"y","b":"z"}}`:                                "pRoPJQaXjhMzxBg+URRQ+Q",
	`{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"a"},"spec":{"ingress":[],"egress":[{}]}}`:                                              "r4qtOg4idK6O63k70ZODNw",
	`{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"a"},"spec":{"f":1.5,"i":3,"n":-7,"b":[true,false,null,[],{}],"o":{"z":1,"y":{"x":null},"a":"b"}}}`:   "GeaKmSdDjrYRNFpyOBYBrA",
}

func parsed(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	require.NoError(t, u.UnmarshalJSON([]byte(text)))
	return u
}

func digestOf(t testing.TB, u *unstructured.Unstructured, sc *scratch) string {
	t.Helper()
	m := &maker{owner: "set", manager: "kit", byDefault: treatment{conflicts: TakeOver}}
	it := &item{object: u, maker: m, prev: &gc.Entry{}, treat: m.byDefault}
	gvk := u.GroupVersionKind()
	it.entry.Key = gc.Key{Group: gvk.Group, Kind: gvk.Kind, Namespace: "default", Name: u.GetName()}
	require.NoError(t, it.digest(sc))
	return it.entry.Intent
}

func TestDigestsStayAsTheyAre(t *testing.T) {
	for text, want := range digests {
		require.Equal(t, want, digestOf(t, parsed(t, text), &scratch{}), text)
	}
}

// What one intent leaves in the scratch is not in the next, and nothing of it in
// the object.
func TestScratchIsClean(t *testing.T) {
	sc := &scratch{}
	var objs []*unstructured.Unstructured
	for text := range digests {
		objs = append(objs, parsed(t, text))
	}
	large := objs[0].DeepCopy()
	labels := map[string]string{}
	for i := range 10 * maxScratch {
		labels[fmt.Sprint("l", i)] = "x"
	}
	large.SetLabels(labels)
	objs = append(objs, large)
	for range 3 {
		for _, u := range objs {
			before := u.DeepCopy()
			require.Equal(t, digestOf(t, u, &scratch{}), digestOf(t, u, sc))
			require.Equal(t, before, u)
		}
	}
}

// The intent that is hashed is the one that is sent.
func FuzzIntent(f *testing.F) {
	for text := range digests {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u := &unstructured.Unstructured{}
		if u.UnmarshalJSON([]byte(text)) != nil {
			return
		}
		key, sc := gc.Key{Kind: u.GetKind(), Namespace: "default", Name: u.GetName()}, &scratch{}
		hashed, err := normalize(u, key, "set", sc)
		sent, errSent := normalize(u, key, "set", nil)
		require.Equal(t, errSent == nil, err == nil)
		if err != nil {
			return
		}
		a, err := json.Marshal(hashed.Object)
		require.NoError(t, err)
		b, err := json.Marshal(sent.Object)
		require.NoError(t, err)
		require.Equal(t, string(b), string(a))
	})
}
