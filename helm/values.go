package helm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"helm.sh/helm/v3/pkg/strvals"
	"sigs.k8s.io/yaml"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// ValuesSources are what the values of a release are made of.
type ValuesSources struct {
	// Files are merged first, in order.
	Files []ValuesFile
	// References are merged over them, in order, but for those with a TargetPath.
	References []ValuesReference
	// Inline values are merged over those. What References with a TargetPath set
	// comes last, and wins over all.
	Inline map[string]any
	// MaxBytes of all files and references together. Default 4 MiB. The text of
	// a reference with a TargetPath that is not literal has 1 MiB in any case.
	MaxBytes int64
}

// ValuesFile is a document of values in YAML.
type ValuesFile struct {
	Name string // for messages
	Data []byte
}

// ValuesReference is what a release takes from an object, such as a ConfigMap or a
// Secret, which the caller has read.
type ValuesReference struct {
	// Name is what messages call the object, such as Secret team/db.
	Name string
	// Data of the object; nil if there is no such object.
	Data map[string][]byte
	// Key in Data; values.yaml by default. A key that is not in Data is an error even
	// if the reference is optional.
	Key string
	// TargetPath is where the text goes, in the syntax of helm --set: a.b, list[0].c,
	// with a backslash before a dot that belongs to a name. If it is empty, the text
	// is a document in YAML.
	TargetPath string
	// Literal takes the text at TargetPath as it is, as helm --set-literal does.
	// Otherwise it is read like the right side of helm --set: commas and braces mean
	// something, numbers and truths are such, and quotes around all of it make it a
	// text.
	Literal bool
	// Optional tolerates that there is no such object.
	Optional bool
}

// What targets may cost.
const (
	maxPath    = 1 << 10 // bytes of a path
	maxText    = 1 << 20 // bytes of a text that may set more than one value
	maxIndexes = 1000    // brackets in path and text
	maxSlots   = 1 << 17 // lengths of the lists that they ask for, together
	maxDepth   = 100     // of the values
)

// ErrNoObject says that a reference is to an object that is not there.
var ErrNoObject = errors.New("there is no such object; create it, or mark the reference as optional")

var errMaxBytes = errors.New("the values are larger than the limit MaxBytes; make them smaller or raise it")

// MergeValues makes one set of values. Objects are merged, and all else replaces
// what was there before; a null stays one, and takes a value of the chart away when
// the chart is rendered. The sources are not changed, and the result shares nothing
// with them.
//
// An error is a [ValuesSourceError], which holds no values.
func MergeValues(from ValuesSources) (map[string]any, error) {
	limit := positive(from.MaxBytes, 4<<20)
	merged := map[string]any{}
	for _, f := range from.Files {
		if limit -= int64(len(f.Data)); limit < 0 {
			return nil, &ValuesSourceError{Source: f.Name, Err: errMaxBytes}
		}
		values, err := readValues(f.Data)
		if err != nil {
			return nil, &ValuesSourceError{Source: f.Name, Err: err}
		}
		merged = mergeValues(merged, values)
	}
	var targets []func(map[string]any) error
	for _, ref := range from.References {
		text, err := ref.text()
		if err == nil && text != nil {
			if limit -= int64(len(*text)); limit < 0 {
				err = errMaxBytes
			}
		}
		switch {
		case err != nil:
			return nil, ref.fault(err)
		case text == nil:
		case ref.TargetPath != "":
			targets = append(targets, func(values map[string]any) error { return ref.set(values, *text) })
		default:
			values, err := readValues([]byte(*text))
			if err != nil {
				return nil, ref.fault(err)
			}
			merged = mergeValues(merged, values)
		}
	}
	inline, err := copyValues(from.Inline)
	if err != nil {
		return nil, &ValuesSourceError{Source: "inline values", Err: err}
	}
	merged = mergeValues(merged, inline)
	for _, set := range targets {
		if err := set(merged); err != nil {
			return nil, err
		}
	}
	return merged, nil
}

// ValuesDigest is a digest, sha256:<hex>, of values: the same for the same values,
// whatever the order in which they were written. It tells whether values changed,
// and holds none; but who can guess all values can check the guess.
func ValuesDigest(values map[string]any) (string, error) {
	if values == nil {
		values = map[string]any{}
	}
	data, err := json.Marshal(values)
	if err != nil {
		return "", &ValuesSourceError{Source: "values", Err: errors.New("they hold something that JSON cannot express")}
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

func (ref ValuesReference) key() string {
	if ref.Key == "" {
		return "values.yaml"
	}
	return ref.Key
}

func (ref ValuesReference) fault(err error) error {
	return &ValuesSourceError{Source: ref.Name, Key: ref.key(), TargetPath: ref.TargetPath, Err: err}
}

// text is nil if there is no object and need not be one.
func (ref ValuesReference) text() (*string, error) {
	if ref.Data == nil {
		if ref.Optional {
			return nil, nil
		}
		return nil, ErrNoObject
	}
	data, ok := ref.Data[ref.key()]
	if !ok {
		return nil, errors.New("the object has no such key; add it, or name another")
	}
	text := string(data)
	return &text, nil
}

// set puts a text where TargetPath says. Errors of the parser quote the text, so
// they are not passed on.
func (ref ValuesReference) set(values map[string]any, text string) error {
	if len(ref.TargetPath) > maxPath {
		return ref.fault(fmt.Errorf("the path is longer than %d bytes", maxPath))
	}
	if !ref.Literal && len(text) > maxText {
		return ref.fault(fmt.Errorf("the text is longer than %d bytes; make the reference literal", maxText))
	}
	set := func(into map[string]any) error { return strvals.ParseInto(ref.TargetPath+"="+text, into) }
	measured := ref.TargetPath + "=" + text
	quoted := len(text) > 1 && (text[0] == '"' || text[0] == '\'') && text[len(text)-1] == text[0]
	switch {
	case ref.Literal:
		measured = ref.TargetPath
		set = func(into map[string]any) error { return strvals.ParseLiteralInto(ref.TargetPath+"="+text, into) }
	case quoted:
		text = text[1 : len(text)-1]
		set = func(into map[string]any) error { return strvals.ParseIntoString(ref.TargetPath+"="+text, into) }
	}
	if err := checkIndexes(measured); err != nil {
		return ref.fault(err)
	}
	if err := guard(func() error { return set(values) }); err != nil {
		return ref.fault(errors.New("the text cannot be put there: the path is malformed, or goes through a value of another kind; or the text holds a comma or a brace, for which the reference has to be literal"))
	}
	if deeperThan(values, maxDepth) {
		return ref.fault(fmt.Errorf("the values are nested deeper than %d", maxDepth))
	}
	return nil
}

var indexes = regexp.MustCompile(`\[[^\]]*`)

// checkIndexes bounds what the parser allocates for lists: it makes each as long
// as its largest index, and copies it when it grows. Brackets that only look like an
// index count too.
func checkIndexes(text string) error {
	plain := strings.ReplaceAll(text, `\`, "") // the parser takes [\7] for [7]
	count, slots := 0, 0
	for _, found := range indexes.FindAllString(plain, maxIndexes+1) {
		n, digits := 0, strings.TrimLeft(found[1:], "+0")
		for _, c := range digits {
			if c < '0' || c > '9' || n > maxSlots {
				break
			}
			n = 10*n + int(c-'0')
		}
		count++
		slots += n + 1
	}
	if count > maxIndexes || slots > maxSlots {
		return fmt.Errorf("the lists are too long: at most %d indexes, of %d elements together; if the text only looks like that, make the reference literal", maxIndexes, maxSlots)
	}
	return nil
}

var yamlLine = regexp.MustCompile(`line [0-9]{1,9}`)

// readValues reads a document. Errors of the parser quote the document, so only the
// line is taken of them.
func readValues(data []byte) (map[string]any, error) {
	var values map[string]any
	err := guard(func() error { return yaml.Unmarshal(data, &values) })
	switch {
	case err != nil && yamlLine.MatchString(err.Error()):
		return nil, fmt.Errorf("it is not an object in YAML: look at %s", yamlLine.FindString(err.Error()))
	case err != nil:
		return nil, errors.New("it is not an object in YAML")
	case deeperThan(values, maxDepth):
		return nil, fmt.Errorf("it is nested deeper than %d", maxDepth)
	case values == nil:
		values = map[string]any{}
	}
	return values, nil
}

// mergeValues merges over into base, which it changes.
func mergeValues(base, over map[string]any) map[string]any {
	for key, value := range over {
		if inner, ok := value.(map[string]any); ok {
			if below, ok := base[key].(map[string]any); ok {
				base[key] = mergeValues(below, inner)
				continue
			}
		}
		base[key] = value
	}
	return base
}

// copyValues makes a copy in the types that YAML and JSON have.
func copyValues(values map[string]any) (map[string]any, error) {
	if deeperThan(values, maxDepth) {
		return nil, fmt.Errorf("they are nested deeper than %d", maxDepth)
	}
	copied, ok := copyValue(values).(map[string]any)
	if !ok {
		return map[string]any{}, nil
	}
	return copied, nil
}

func copyValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		copied := make(map[string]any, len(v))
		for key, item := range v {
			copied[key] = copyValue(item)
		}
		return copied
	case []any:
		copied := make([]any, len(v))
		for i, item := range v {
			copied[i] = copyValue(item)
		}
		return copied
	}
	return v
}

// ValuesSourceError says which source of values cannot be used. It holds no
// values.
type ValuesSourceError struct {
	Source     string // the name of the file or object
	Key        string // in the object; empty for a file
	TargetPath string // may be empty
	Err        error
}

func (e *ValuesSourceError) Error() string {
	where := clip.Quote(fmt.Sprintf("%q", e.Source), 300)
	if e.Key != "" {
		where += " key " + clip.Quote(fmt.Sprintf("%q", e.Key), 300)
	}
	if e.TargetPath != "" {
		where += " for " + clip.Quote(fmt.Sprintf("%q", e.TargetPath), 300)
	}
	return fmt.Sprintf("values of %s: %v", where, e.Err)
}

func (e *ValuesSourceError) Unwrap() error { return e.Err }

// Is reports that the error is an [ErrValues].
func (e *ValuesSourceError) Is(target error) bool { return target == ErrValues }

// Terminal reports that trying again does not help until somebody corrects the
// source. An object that is not there may yet come.
func (e *ValuesSourceError) Terminal() bool { return !errors.Is(e.Err, ErrNoObject) }
