// Package entries makes the inventory that both sides keep.
package entries

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
)

// Entry is one object of an inventory, as whoever applied it has to know it.
type Entry struct {
	Group           string `json:"group"`
	Kind            string `json:"kind"`
	Namespace       string `json:"namespace"`
	Name            string `json:"name"`
	Version         string `json:"version"`
	Resource        string `json:"resource"`
	UID             string `json:"uid"`
	ResourceVersion string `json:"resourceVersion"`
	Generation      int64  `json:"generation"`
	Intent          string `json:"intent"`
	Owned           string `json:"owned"`
}

// Make makes so many, whose random parts compress as badly as real ones. It makes
// the same ones each time.
func Make(count int) []Entry {
	rnd := rand.New(rand.NewPCG(1, 7))
	bits := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return base64.RawStdEncoding.EncodeToString(b)
	}
	list := make([]Entry, count)
	for i := range list {
		list[i] = Entry{
			Group: "apps", Kind: "Deployment", Version: "v1", Resource: "deployments",
			Namespace: fmt.Sprint("team-", i%50), Name: fmt.Sprint("service-", i),
			UID: fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x",
				rnd.Uint32(), rnd.IntN(1<<16), rnd.IntN(1<<12), rnd.IntN(1<<12), rnd.Int64N(1<<48)),
			ResourceVersion: fmt.Sprint(rnd.IntN(1 << 24)), Generation: 1,
			Intent: bits(16), Owned: bits(12),
		}
	}
	return list
}

// Change is the entry at a place after a change of its object, the revision's.
func Change(e Entry, revision int) Entry {
	e.ResourceVersion = fmt.Sprint(1<<24 + revision)
	e.Generation = int64(1 + revision)
	e.Intent = fmt.Sprintf("%022d", revision)
	return e
}
