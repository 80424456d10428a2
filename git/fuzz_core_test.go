package git_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
)

// Whatever a pack is, with or without something to build upon, what comes of it
// is what its ids say.
func FuzzPackObjects(f *testing.F) {
	_, entries := tiny("hello\n")
	self, err := hex.DecodeString(hashOf("blob", []byte("hello\n")))
	require.NoError(f, err)
	base := pack(3, entries...)
	delta := packed{7, -1, self, []byte{6, 7, 1, 'x', 0x90, 6}}
	f.Add(base, false)
	f.Add(pack(1, delta), true)
	f.Add(pack(2, delta, packed{6, -1, []byte{32}, []byte{7, 1, 1, 'y'}}), true)
	f.Add(pack(4, delta, entries[0], entries[1], entries[2]), false)
	limits := git.Limits{ObjectSize: 1 << 16, Inflated: 1 << 18, Objects: 100}
	f.Fuzz(func(t *testing.T, data []byte, thin bool) {
		// The trailer is made right: what is behind it is of interest.
		if len(data) > 20 {
			data = sealed(binary.BigEndian.Uint32(append(bytes.Clone(data), make([]byte, 12)...)[8:12])%100, data[min(12, len(data)-20):len(data)-20])
		}
		var under []byte
		if thin {
			under = base
		}
		objects, err := git.PackObjects(t.Context(), data, under, limits)
		requireHashes(t, objects)
		require.LessOrEqual(t, len(objects), 100)
		if err != nil {
			require.True(t, isMalformedOrLimit(err), "%v", err)
		}
	})
}

// naiveDelta applies a delta as its description reads.
func naiveDelta(base, delta []byte) ([]byte, bool) {
	baseSize, n := binary.Uvarint(delta)
	if n <= 0 || baseSize != uint64(len(base)) {
		return nil, false
	}
	delta = delta[n:]
	size, n := binary.Uvarint(delta)
	if n <= 0 || size > 1<<20 {
		return nil, false
	}
	delta = delta[n:]
	var out []byte
	for len(delta) > 0 {
		op := delta[0]
		delta = delta[1:]
		if op == 0 {
			return nil, false
		}
		if op < 0x80 {
			if int(op) > len(delta) {
				return nil, false
			}
			out = append(out, delta[:op]...)
			delta = delta[op:]
			continue
		}
		var v [7]uint64
		for i := range v {
			if op&(1<<i) != 0 {
				if len(delta) == 0 {
					return nil, false
				}
				v[i], delta = uint64(delta[0]), delta[1:]
			}
		}
		at, n := v[0]|v[1]<<8|v[2]<<16|v[3]<<24, v[4]|v[5]<<8|v[6]<<16
		if n == 0 {
			n = 1 << 16
		}
		if at+n > uint64(len(base)) || uint64(len(out))+n > size {
			return nil, false
		}
		out = append(out, base[at:at+n]...)
	}
	return out, uint64(len(out)) == size
}

func FuzzApplyDelta(f *testing.F) {
	f.Add([]byte("hello\n"), []byte{6, 7, 1, 'x', 0x90, 6})
	f.Add([]byte("hello\n"), []byte{6, 11, 5, 'h', 'e', 'l', 'l', 'o', 0x90, 6})
	f.Add([]byte("0123456789"), []byte{10, 20, 0x80 | 0x11, 1, 5, 2, 'a', 'b', 0x90, 10, 3, 1, 2, 3})
	f.Fuzz(func(t *testing.T, base, delta []byte) {
		want, ok := naiveDelta(base, delta)
		got, err := git.ApplyDelta(base, delta)
		require.Equal(t, ok, err == nil, "%v", err)
		if ok {
			require.True(t, bytes.Equal(want, got))
		}
	})
}

func FuzzVersion2(f *testing.F) {
	f.Add(greeting2("shallow filter"), oneRef2(zeros))
	f.Add(hello2+"0000", pkt("unborn HEAD symref-target:refs/heads/main\n")+"0000")
	f.Add(hello2+pkt("object-format=sha256\n")+"0000", pkt(zeros+" refs/tags/v1 peeled:"+zeros+"\n")+"0000")
	f.Fuzz(func(t *testing.T, hello, refs string) {
		git.ReadGreeting([]byte(hello))
		names, err := git.ReadRefs([]byte(refs))
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, name := range names {
			require.True(t, git.ValidRefName(name), "%q", name)
			require.False(t, seen[name], "%q twice", name)
			seen[name] = true
		}
	})
}

// The answer to a request, up to the pack and with it, in both versions.
func FuzzAnswer(f *testing.F) {
	_, entries := tiny("hello\n")
	whole := packHead + string(sidebands(pack(3, entries...)))
	f.Add(whole, 2)
	f.Add(pkt("acknowledgments\n")+pkt("NAK\n")+"0001"+whole, 2)
	f.Add(pkt("NAK\n")+string(sidebands(pack(3, entries...))), 0)
	f.Add(pkt("shallow "+zeros+"\n")+"0000"+pkt("ACK "+zeros+" common\n")+pkt("ACK "+zeros+"\n")+string(sidebands(pack(3, entries...))), 0)
	f.Fuzz(func(t *testing.T, answer string, version int) {
		objects, _ := git.ReadAnswer(t.Context(), []byte(answer), version&2, git.Limits{ObjectSize: 1 << 16, Inflated: 1 << 18, Objects: 100})
		requireHashes(t, objects)
	})
}

// The compatible engine takes the same packs, and must not fall over others.
func FuzzPackWithGoGit(f *testing.F) {
	_, entries := tiny("hello\n")
	self, err := hex.DecodeString(hashOf("blob", []byte("hello\n")))
	require.NoError(f, err)
	f.Add(pack(3, entries...))
	f.Add(pack(4, append(entries[:3:3], packed{7, -1, self, []byte{6, 7, 1, 'x', 0x90, 6}})...))
	limits := git.Limits{ObjectSize: 1 << 16, Inflated: 1 << 18, Objects: 100}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 32 {
			data = sealed(binary.BigEndian.Uint32(data[8:12])%100, data[12:len(data)-20])
		}
		objects, err := git.PackObjectsWithGoGit(t.Context(), data, limits)
		requireHashes(t, objects)
		if ours, e := git.PackObjects(t.Context(), data, nil, limits); err == nil && e == nil {
			require.Equal(t, ours, objects)
		}
	})
}

func isMalformedOrLimit(err error) bool {
	return strings.Contains(err.Error(), git.ErrMalformed.Error()) || strings.Contains(err.Error(), git.ErrLimit.Error())
}
