package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPeerNamesAreWhatIsMeasured(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	for _, p := range pairs() {
		if !p.Command && !p.Plain {
			for name := range strings.SplitSeq(p.PeerName, " and ") {
				require.True(t, slices.ContainsFunc(required(name), func(line string) bool {
					return strings.Contains(string(mod), line)
				}), p.Name)
			}
		}
	}
}

// required are the lines of go.mod of which a package has one.
func required(peer string) (lines []string) {
	name, version, _ := strings.Cut(peer, " ")
	for ; strings.Contains(name, "/"); name = path.Dir(name) {
		lines = append(lines, "\t"+name+" "+version+"\n")
	}
	return lines
}

// modules are those of the peer.
func modules(p Pair) []string {
	var list []string
	for name := range strings.SplitSeq(p.PeerName, " and ") {
		module, _, _ := strings.Cut(name, " ")
		list = append(list, module)
	}
	return list
}

// A program that linked the other side, or all that tests need, would hold more
// memory than a controller does.
func TestProgramsLinkTheirSideOnly(t *testing.T) {
	const root = "github.com/gitopskit/gitopskit/"
	deps := func(pkg string) []string {
		out, err := goCommand(t.Context(), "list", "-deps", module+"/"+pkg).Output()
		require.NoError(t, err, pkg)
		return strings.Fields(string(out))
	}
	for _, p := range pairs() {
		ours, peer := deps(p.Ours), deps(p.Peer)
		area, _, _ := strings.Cut(p.Ours, "/")
		library := root + area
		peerModules := modules(p)
		require.True(t, slices.ContainsFunc(ours, func(dep string) bool { return dep == library || strings.HasPrefix(dep, library+"/") }), "%s does not link %s", p.Ours, library)
		if !p.Command && !p.Plain {
			for _, m := range peerModules {
				require.True(t, slices.ContainsFunc(peer, func(dep string) bool { return dep == m || strings.HasPrefix(dep, m+"/") }), "%s does not link %s", p.Peer, m)
			}
		}
		for _, dep := range ours {
			for _, heavy := range []string{"github.com/fluxcd/", "k8s.io/client-go/kubernetes/typed", "sigs.k8s.io/controller-runtime", root + "internal/controlplane", root + "internal/gitserver"} {
				// This one has no dependencies, and kustomize uses it too.
				require.False(t, strings.HasPrefix(dep, heavy) && !strings.HasPrefix(dep, "github.com/fluxcd/pkg/envsubst"), "%s links %s", p.Ours, dep)
			}
		}
		for _, dep := range peer {
			if name, ok := strings.CutPrefix(dep, root); ok {
				require.True(t, name == "internal/meter" || name == "internal/helmcommand" || strings.HasPrefix(name, "bench/"), "%s links %s", p.Peer, dep)
			}
			for _, other := range pairs() {
				if other.Peer != p.Peer { // a program may need for one pair what it measures in another
					require.False(t, slices.Contains(modules(other), dep) && !slices.ContainsFunc(pairs(), func(same Pair) bool {
						return same.Peer == p.Peer && slices.Contains(modules(same), dep)
					}), "%s links %s", p.Peer, dep)
				}
			}
		}
	}
}

func TestProgramsAreStatic(t *testing.T) {
	pair, err := choose(pairs(), "^kustomize/small$")
	require.NoError(t, err)
	var progress bytes.Buffer
	programs, err := build(t.Context(), append(pair, pair...), t.TempDir(), &progress)
	require.NoError(t, err)
	require.Equal(t, "building kustomize/ours\nbuilding kustomize/peer\n", progress.String(), "each once")
	require.Len(t, programs, 2)
	for pkg, program := range programs {
		info, err := buildinfo.ReadFile(program.path)
		require.NoError(t, err)
		require.Equal(t, module+"/"+pkg, info.Path)
		settings := map[string]string{}
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
		require.Equal(t, "0", settings["CGO_ENABLED"])
	}
}

func TestOneLineForEachPair(t *testing.T) {
	var out, progress bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-run", "^kustomize/small$", "-rounds", "5", "-json"}, &out, &progress))
	require.Equal(t, 1, strings.Count(out.String(), "\n"))
	var res Result
	require.NoError(t, json.Unmarshal(out.Bytes(), &res))
	require.Equal(t, "kustomize/small", res.Name)
	require.Positive(t, res.Ratio)
	require.Positive(t, res.Ours.PeakMB)
	require.Positive(t, res.Peer.PeakMB)
	require.Contains(t, progress.String(), "kustomize/small: 5 rounds of each side\n")
}

func TestBuildFailures(t *testing.T) {
	var stderr bytes.Buffer
	_, err := build(t.Context(), []Pair{{Ours: "none/ours"}}, t.TempDir(), &stderr)
	require.ErrorContains(t, err, "go build none/ours")
	require.Contains(t, stderr.String(), module+"/none/ours", "the go command says why")

	for _, elsewhere := range []string{"..", t.TempDir()} {
		t.Chdir(elsewhere)
		_, err = build(t.Context(), pairs(), t.TempDir(), io.Discard)
		require.ErrorContains(t, err, `start in the repository with "go -C bench run ."`)
	}
}
