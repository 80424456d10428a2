package kustomize

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds on the JSON form of inputs, far beyond what a build needs. The last is
// on names with what they share with others.
const (
	maxInputsJSON  = 8 << 20
	maxInputs      = 100_000
	maxInputsNames = 16 << 20
)

// wire is the JSON form. Each name is written as how much of the name before it it
// begins with, its kind, and the rest.
type wire struct {
	Version string   `json:"version"`
	Dir     string   `json:"dir"`
	Options []byte   `json:"options"`
	Digest  []byte   `json:"digest"`
	IDs     []byte   `json:"ids,omitempty"`
	Within  []byte   `json:"within,omitempty"`
	Names   []string `json:"names"`
}

// MarshalJSON implements [json.Marshaler].
func (in Inputs) MarshalJSON() ([]byte, error) {
	if in.version == "" {
		return []byte("null"), nil
	}
	w := wire{
		Version: in.version, Dir: in.dir,
		Options: in.options[:], Digest: in.digest[:], IDs: bytesOf(&in.ids), Within: bytesOf(&in.within),
		Names: make([]string, 0, len(in.list)),
	}
	last := ""
	for _, i := range in.list {
		n := shared(last, i.Name)
		w.Names = append(w.Names, strconv.Itoa(n)+string(rune(i.Kind))+i.Name[n:])
		last = i.Name
	}
	return json.Marshal(w)
}

// bytesOf leaves out what is zero.
func bytesOf(s *sum) []byte {
	if *s == (sum{}) {
		return nil
	}
	return s[:]
}

// shared is how many bytes two names begin with alike, whole characters only.
func shared(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	for n > 0 && n < len(b) && !utf8.RuneStart(b[n]) {
		n--
	}
	return n
}

// UnmarshalJSON implements [json.Unmarshaler]. What cannot be the form of inputs is
// [ErrMalformed]; what another version wrote can be read, and has changed.
func (in *Inputs) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*in = Inputs{}
		return nil
	}
	if len(data) > maxInputsJSON {
		return fmt.Errorf("kustomize: %w: more than %d bytes", ErrMalformed, maxInputsJSON)
	}
	var w wire
	if err := json.Unmarshal(data, &w); err != nil {
		return fmt.Errorf("kustomize: %w: %w", ErrMalformed, err)
	}
	if err := in.from(&w); err != nil {
		return fmt.Errorf("kustomize: %w: %w", ErrMalformed, err)
	}
	return nil
}

func (in *Inputs) from(w *wire) error {
	read := Inputs{version: w.Version, dir: w.Dir}
	if w.Version == "" || !fs.ValidPath(w.Dir) {
		return errors.New("it is not said what they are of")
	}
	for to, from := range map[*sum][]byte{&read.options: w.Options, &read.digest: w.Digest} {
		if copy(to[:], from) != len(to) || len(from) != len(to) {
			return errors.New("a digest is missing or too long")
		}
	}
	for to, from := range map[*sum][]byte{&read.ids: w.IDs, &read.within: w.Within} {
		if n := copy(to[:], from); n != len(from) || n != 0 && n != len(to) {
			return errors.New("a digest has the wrong length")
		}
	}
	if len(w.Names) > maxInputs {
		return fmt.Errorf("more than %d names", maxInputs)
	}
	size := 0
	for n, text := range w.Names {
		i, err := parseInput(text, read.list)
		if err != nil {
			return fmt.Errorf("name %d: %w", n+1, err)
		}
		if size += len(i.Name); size > maxInputsNames {
			return fmt.Errorf("names of more than %d bytes", maxInputsNames)
		}
		read.list = append(read.list, i)
	}
	*in = read
	return nil
}

var errNoInput = errors.New("it is none")

// parseInput reads the form of the input that follows a list.
func parseInput(text string, list []Input) (Input, error) {
	last := ""
	if len(list) > 0 {
		last = list[len(list)-1].Name
	}
	at := strings.IndexAny(text, "fldm")
	if at <= 0 {
		return Input{}, errNoInput
	}
	n, err := strconv.ParseUint(text[:at], 10, 16)
	if err != nil || int(n) > len(last) {
		return Input{}, errNoInput
	}
	i := Input{Name: last[:n] + text[at+1:], Kind: InputKind(text[at])}
	if !fs.ValidPath(i.Name) || i.Name <= last {
		return Input{}, errors.New("it is not a path, or not in its place")
	}
	return i, nil
}
