package kustomize

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"
)

// Options say how to build. The zero value builds what the directory says, under
// the default limits.
//
// All fields but CommonMetadata and the limits are written into the directory's
// own kustomization, or into the one that is made for it, before it is built: each
// acts where kustomize would act on the field of that name.
type Options struct {
	// TargetNamespace is the namespace of all namespaced objects, in place of the
	// kustomization's own. Empty leaves that.
	TargetNamespace string
	// NamePrefix and NameSuffix go around the names of all objects, in place of the
	// kustomization's own; at most 200 bytes each. Empty leaves those.
	NamePrefix, NameSuffix string
	// CommonMetadata is set on all objects after everything else.
	CommonMetadata CommonMetadata
	// Patches are made after those of the kustomization.
	Patches []Patch
	// Images are changed as the kustomization says, but for what is set here.
	Images []Image
	// Components are paths from the directory to kustomize components, which are used
	// after those of the kustomization. They are relative, and lead to nothing outside
	// of the tree.
	Components []string
	// IgnoreMissingComponents leaves out those of Components that are not in the tree.
	// Without it, each is an [*InputError].
	IgnoreMissingComponents bool
	// BuildMetadata is what kustomize notes down in the objects, in place of what the
	// kustomization wants: originAnnotations, transformerAnnotations,
	// managedByLabel. Empty leaves that.
	BuildMetadata []string
	// Decrypter decrypts the files that SOPS encrypted, before kustomize reads them:
	// resources, patches, and the sources of Secrets; never those of ConfigMaps. Nil
	// decrypts nothing. In either case an object that is still encrypted in the end is
	// an [*EncryptedError], unless it has the annotation
	// kustomize.gitopskit.dev/decrypt: disabled, or the same of
	// kustomize.toolkit.fluxcd.io.
	Decrypter Decrypter
	// Limits bound what the build may read.
	Limits Limits
}

// CommonMetadata is labels and annotations that all objects get. They replace
// those of the same key, and are set on the objects alone: neither on their
// selectors nor on what they are templates for.
type CommonMetadata struct {
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Patch changes objects.
type Patch struct {
	// Patch is a strategic merge patch, or a list of JSON patch operations, in YAML or
	// JSON.
	Patch string `json:"patch"`
	// Target selects the objects. Without one, a strategic merge patch is for the
	// object that it names; a JSON patch needs one.
	Target *Selector `json:"target,omitempty"`
}

// Selector selects objects. What is empty selects all. The first five fields are
// regular expressions for the whole value, and the last two are label selectors.
type Selector struct {
	Group              string `json:"group,omitempty"`
	Version            string `json:"version,omitempty"`
	Kind               string `json:"kind,omitempty"`
	Name               string `json:"name,omitempty"`
	Namespace          string `json:"namespace,omitempty"`
	LabelSelector      string `json:"labelSelector,omitempty"`
	AnnotationSelector string `json:"annotationSelector,omitempty"`
}

// Image changes references to an image. What is empty stays as the kustomization
// has it; but a tag and a digest select together, so that either takes the place
// of both.
type Image struct {
	// Name is the image as the objects have it, without tag.
	Name    string `json:"name"`
	NewName string `json:"newName,omitempty"`
	NewTag  string `json:"newTag,omitempty"`
	Digest  string `json:"digest,omitempty"`
}

// maxAffix is the longest prefix or suffix; names have at most 253 bytes.
const maxAffix = 200

// validate says what is wrong with the options, before anything is read.
func (o *Options) validate(b *builder) error {
	v := &validator{}
	if o.TargetNamespace != "" {
		v.check("TargetNamespace", o.TargetNamespace, validation.IsDNS1123Label(o.TargetNamespace)...)
	}
	v.affix("NamePrefix", o.NamePrefix)
	v.affix("NameSuffix", o.NameSuffix)
	v.metadata(&o.CommonMetadata)
	for i := range o.Patches {
		v.patch(fmt.Sprintf("Patches[%d]", i), &o.Patches[i], b)
	}
	for i := range o.Images {
		v.image(fmt.Sprintf("Images[%d]", i), &o.Images[i])
	}
	for i, component := range o.Components {
		v.component(fmt.Sprintf("Components[%d]", i), component)
	}
	for i, m := range o.BuildMetadata {
		if !slices.Contains(types.BuildMetadataOptions, m) {
			v.check(fmt.Sprintf("BuildMetadata[%d]", i), m, "it is none of "+strings.Join(types.BuildMetadataOptions, ", "))
		}
	}
	return v.err
}

// validator keeps the first fault.
type validator struct{ err error }

func (v *validator) check(field, value string, faults ...string) {
	if v.err == nil && len(faults) > 0 {
		v.err = &OptionError{Field: field, Value: value, Err: errors.New(strings.Join(faults, ", "))}
	}
}

func (v *validator) fail(field, value string, err error) {
	if err != nil {
		v.check(field, value, err.Error())
	}
}

// affix checks a part of a name. What a name may be depends on the kind of object,
// so this takes what any kind does.
func (v *validator) affix(field, value string) {
	if len(value) > maxAffix {
		v.check(field, value, fmt.Sprintf("it is longer than %d bytes", maxAffix))
	}
	v.check(field, value, content.IsPathSegmentPrefix(value)...)
	if strings.ContainsFunc(value, unprintable) {
		v.check(field, value, "a name has printable ASCII characters only, and no spaces")
	}
}

// maxAnnotations is the size that the API server takes, keys and values together.
const maxAnnotations = 256 << 10

func (v *validator) metadata(m *CommonMetadata) {
	for key, value := range m.Labels {
		field := "CommonMetadata.Labels"
		v.check(field, key, validation.IsQualifiedName(key)...)
		v.check(field+"["+key+"]", value, validation.IsValidLabelValue(value)...)
	}
	size := 0
	for key, value := range m.Annotations {
		v.check("CommonMetadata.Annotations", key, validation.IsQualifiedName(strings.ToLower(key))...)
		size += len(key) + len(value)
		if !utf8.ValidString(value) {
			v.check("CommonMetadata.Annotations["+key+"]", value, "it is not UTF-8")
		}
	}
	if size > maxAnnotations {
		v.check("CommonMetadata.Annotations", "", fmt.Sprintf("they are %d bytes, and an object takes %d", size, maxAnnotations))
	}
}

func (v *validator) patch(field string, p *Patch, b *builder) {
	if v.err != nil {
		return
	}
	if strings.TrimSpace(p.Patch) == "" {
		v.check(field+".Patch", "", "there is no patch")
		return
	}
	c := &checker{guard: newGuard(b.src, nil, false), file: "Options." + field + ".Patch"}
	_, isJSON := operations([]byte(p.Patch))
	switch ops, err := c.checkPatch(c.file, []byte(p.Patch)); {
	case errors.As(err, new(*LimitError)):
		v.err = err
	case err != nil:
		v.fail(field+".Patch", p.Patch, err)
	case !isJSON && strings.HasPrefix(strings.TrimSpace(p.Patch), "["):
		v.check(field+".Patch", p.Patch, "what begins with a bracket must be JSON")
	case isJSON && len(ops) > 0 && p.Target == nil:
		v.check(field+".Target", "", "a JSON patch needs a target")
	}
	if p.Target != nil {
		v.selector(field+".Target", p.Target)
	}
}

func (v *validator) selector(field string, s *Selector) {
	_, err := types.NewSelectorRegex(s.upstream())
	v.fail(field, "", err)
	_, err = labels.Parse(s.LabelSelector)
	v.fail(field+".LabelSelector", s.LabelSelector, err)
	_, err = labels.Parse(s.AnnotationSelector)
	v.fail(field+".AnnotationSelector", s.AnnotationSelector, err)
}

func (v *validator) image(field string, i *Image) {
	if i.Name == "" {
		v.check(field+".Name", "", "the image to change must have a name")
	}
	// To kustomize the name is a part of a regular expression, and it takes for granted
	// that it is a valid one.
	_, err := regexp.Compile("^" + i.Name + "$")
	v.fail(field+".Name", i.Name, err)
	for name, value := range map[string]string{"Name": i.Name, "NewName": i.NewName, "NewTag": i.NewTag, "Digest": i.Digest} {
		if strings.ContainsFunc(value, unprintable) {
			v.check(field+"."+name, value, "it has spaces, or characters that are not printable ASCII")
		}
	}
}

func unprintable(r rune) bool { return r <= ' ' || r >= unicode.MaxASCII }

func (v *validator) component(field, value string) {
	switch {
	case value == "":
		v.check(field, value, "the path is empty")
	case isRemote(value):
		v.check(field, value, "it is not in the tree, and a build uses no network")
	case strings.HasPrefix(value, "/"):
		v.check(field, value, "an absolute path leads out of the tree")
	case strings.ContainsRune(value, 0):
		v.check(field, value, "a path has no NUL")
	}
}

// merge writes the options into a kustomization, and reports whether there was
// anything to write. Components are those that are there.
func (o *Options) merge(k *types.Kustomization, components []string) bool {
	set := func(field *string, value string) {
		if value != "" {
			*field = value
		}
	}
	set(&k.Namespace, o.TargetNamespace)
	set(&k.NamePrefix, o.NamePrefix)
	set(&k.NameSuffix, o.NameSuffix)
	for _, p := range o.Patches {
		k.Patches = append(k.Patches, types.Patch{Patch: p.Patch, Target: p.Target.upstream()})
	}
	k.Components = append(k.Components, components...)
	for _, image := range o.Images {
		image.merge(&k.Images)
	}
	if len(o.BuildMetadata) > 0 {
		k.BuildMetadata = o.BuildMetadata
	}
	return o.TargetNamespace+o.NamePrefix+o.NameSuffix != "" ||
		len(o.Patches)+len(components)+len(o.Images)+len(o.BuildMetadata) > 0
}

func (i Image) merge(list *[]types.Image) {
	at := slices.IndexFunc(*list, func(other types.Image) bool { return other.Name == i.Name })
	if at < 0 {
		*list = append(*list, types.Image{Name: i.Name, NewName: i.NewName, NewTag: i.NewTag, Digest: i.Digest})
		return
	}
	old := &(*list)[at]
	if i.NewName != "" {
		old.NewName = i.NewName
	}
	if i.NewTag != "" || i.Digest != "" {
		old.NewTag, old.Digest = i.NewTag, i.Digest
	}
}

// set adds the metadata to objects. What else there is stays, whatever it is.
func (m *CommonMetadata) set(objects []*unstructured.Unstructured) {
	for _, o := range objects {
		setAll(o.Object, "labels", m.Labels)
		setAll(o.Object, "annotations", m.Annotations)
	}
}

func setAll(object map[string]any, field string, values map[string]string) {
	if len(values) == 0 {
		return
	}
	meta := childOf(object, "metadata")
	all := childOf(meta, field)
	for key, value := range values {
		all[key] = value
	}
}

// childOf returns the map in a field, which it makes if there is none.
func childOf(object map[string]any, field string) map[string]any {
	child, ok := object[field].(map[string]any)
	if !ok {
		child = map[string]any{}
		object[field] = child
	}
	return child
}

func (s *Selector) upstream() *types.Selector {
	if s == nil {
		return nil
	}
	return &types.Selector{
		ResId: resid.ResId{
			Gvk:       resid.Gvk{Group: s.Group, Version: s.Version, Kind: s.Kind},
			Name:      s.Name,
			Namespace: s.Namespace,
		},
		LabelSelector:      s.LabelSelector,
		AnnotationSelector: s.AnnotationSelector,
	}
}
