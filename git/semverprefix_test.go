package git_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
)

func TestVersionPrefixes(t *testing.T) {
	for constraint, want := range map[string]string{
		"1.x":                  "1.",
		"1":                    "1.",
		"v1":                   "1.",
		"1.x.x":                "1.",
		"^1.2":                 "1.",
		"^v1.2.3":              "1.",
		">=1.2.0 <2.0.0":       "1.",
		">=1.2.0, <2":          "1.",
		"<2, >=1.2.0":          "1.",
		">=1.2.0-0 <2.0.0":     "1. 2.", // which 2.0.0-rc.1 satisfies
		">=1.2.0-0 <2.0.0-0":   "1. 2.",
		"~1.4":                 "1.4.",
		"~>1.4.2":              "1.4.",
		"1.4.x":                "1.4.",
		"1.4.*":                "1.4.",
		"~1":                   "1.",
		"1.2.3":                "1.2.3",
		"=1.2.3":               "1.2.3",
		"= v1.2.3-rc.1+x-y":    "1.2.3",
		"^0.2.3":               "0.2.",
		"^0.0.3":               "0.0.3",
		"^0.0":                 "0.0.",
		"^0":                   "0.",
		">=1 <4":               "1. 2. 3.",
		">1 <=3":               "1. 2. 3.",
		"<2":                   "0. 1.",
		"<=1.4":                "0. 1.",
		"=<1":                  "0. 1.",
		"<8":                   "0. 1. 2. 3. 4. 5. 6. 7.",
		"<9":                   "",
		">=1.30 <1.33":         "1.30. 1.31. 1.32.",
		">=1.30 <1.50":         "1.",
		"1.2 - 1.4.5":          "1.2. 1.3. 1.4.",
		"1.2.3 - 2.3.4":        "1. 2.",
		">=1.2.3 <1.2.9":       "1.2.",
		"~1.4 || ~1.6":         "1.4. 1.6.",
		"~1.4 || ^1":           "1.",
		"1.2.3 || 1.2.4":       "1.2.3 1.2.4",
		"1 || 2 || 3":          "1. 2. 3.",
		"1 || *":               "",
		"1 || >3":              "",
		"^1 !=1.2.3":           "1.",
		"* ^1":                 "1.",
		"*":                    "",
		"x":                    "",
		"^*":                   "",
		"~0.0.0":               "",
		"!=1.2.3":              "",
		">=1.0.0":              "",
		">2 <1":                "", // nothing is in it, but that is not for here to say
		"18446744073709551615": "18446744073709551615.",
		"0 || 2 || 4 || 6 || 8 || 10 || 12 || 14 || 16": "",
	} {
		c, err := semver.NewConstraint(constraint)
		require.NoError(t, err, constraint)
		var both []string
		for _, prefix := range strings.Fields(want) {
			both = append(both, prefix, "v"+prefix)
		}
		require.ElementsMatch(t, both, git.VersionPrefixes(c), constraint)
	}
	c, err := semver.NewConstraint("<2")
	require.NoError(t, err)
	c.IncludePrerelease = true
	require.Contains(t, git.VersionPrefixes(c), "v2.")
}

// requireFound checks that no tag of a version in the range is left out.
func requireFound(t *testing.T, c *semver.Constraints, version string) (narrow bool) {
	t.Helper()
	v, err := semver.StrictNewVersion(version)
	if err != nil {
		return false
	}
	for _, pre := range []bool{false, true} {
		c.IncludePrerelease = pre
		prefixes := git.VersionPrefixes(c)
		if len(prefixes) == 0 || !c.Check(v) {
			continue
		}
		narrow = true
		for _, tag := range []string{version, "v" + version} {
			found := false
			for _, prefix := range prefixes {
				found = found || strings.HasPrefix(tag, prefix)
			}
			require.True(t, found, "%q lets %q in, which begins with none of %q", c, tag, prefixes)
		}
	}
	return narrow
}

func TestVersionPrefixesLeaveNothingOut(t *testing.T) {
	const seed = 7
	r := rand.New(rand.NewPCG(seed, seed))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	number := func() string { return strconv.Itoa(r.IntN(4)) }
	part := func() string { return pick(number(), number(), number(), number(), "x", "X", "*", "0"+number(), "10") }
	version := func() string {
		v := pick("", "", "v") + part()
		for range r.IntN(3) {
			v += "." + part()
		}
		return v + pick("", "", "", "", "-0", "-rc.1", "-alpha-1+b-c", "+b-c")
	}
	clause := func() string {
		if r.IntN(8) == 0 {
			return version() + " - " + version()
		}
		return pick("", "=", "!=", ">", "<", ">=", "=>", "<=", "=<", "~", "~>", "^") + pick("", " ") + version()
	}
	accepted, narrow := 0, 0
	for range 30_000 {
		constraint := clause()
		for range r.IntN(3) {
			constraint += pick(" ", ", ", ",", " || ", "||") + clause()
		}
		c, err := semver.NewConstraint(constraint)
		if err != nil {
			continue
		}
		accepted++
		for range 20 {
			v := fmt.Sprintf("%s.%s.%s%s", number(), number(), number(), pick("", "", "-0", "-rc.1", "-alpha", "+b", "-rc.2+b"))
			if requireFound(t, c, v) {
				narrow++
			}
		}
	}
	require.Greater(t, accepted, 10_000)
	require.Greater(t, narrow, 10_000, "the test must meet ranges with prefixes, and versions in them")
}

func FuzzVersionPrefixes(f *testing.F) {
	f.Add("^1.2 || ~0.0.0, !=3 - 4.x", "1.2.3-rc.1+x")
	f.Add("1.x.| || <2-0", "2.0.0-1")
	f.Add(">=18446744073709551615 <=18446744073709551615.1", "18446744073709551615.0.1")
	f.Fuzz(func(t *testing.T, constraint, version string) {
		c, err := semver.NewConstraint(constraint)
		if err != nil {
			return
		}
		for _, prefix := range git.VersionPrefixes(c) {
			require.NotEmpty(t, strings.TrimPrefix(prefix, "v"))
		}
		requireFound(t, c, version)
	})
}
