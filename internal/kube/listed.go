package kube

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Listed is one object of a list, of which is decoded what tells whether somebody
// changed it. All of it belongs to the list's memory.
type Listed struct {
	Name, UID, ResourceVersion []byte
	Generation                 int64
	Deleting                   bool
	Labels, Annotations        []Pair
	Writers                    []Writer

	raw  []byte                        // PartialObjectMetadata as protobuf
	meta *metav1.PartialObjectMetadata // instead, where the server does not speak that
}

// Pair is a label or an annotation.
type Pair struct{ Key, Value []byte }

// Writer is who is named in managedFields.
type Writer struct{ Manager, Operation, Subresource []byte }

// Metadata decodes all of it, and may be kept.
func (l *Listed) Metadata() (*metav1.PartialObjectMetadata, error) {
	if l.meta != nil {
		return l.meta, nil
	}
	m := &metav1.PartialObjectMetadata{}
	if err := m.Unmarshal(l.raw); err != nil {
		return nil, fmt.Errorf("decode the server's answer: %w", err)
	}
	return m, nil
}

// decode reads the numbers and texts that a glance is about. The numbers of the
// fields are those of the Kubernetes API.
func (l *Listed) decode(raw []byte) error {
	*l = Listed{raw: raw, Labels: l.Labels[:0], Annotations: l.Annotations[:0], Writers: l.Writers[:0]}
	return fields(raw, func(f field) error {
		if f.number != 1 { // metadata
			return nil
		}
		return fields(f.bytes, l.metadata)
	})
}

func (l *Listed) metadata(f field) error {
	switch f.number {
	case 1:
		l.Name = f.bytes
	case 5:
		l.UID = f.bytes
	case 6:
		l.ResourceVersion = f.bytes
	case 7:
		l.Generation = int64(f.value) //nolint:gosec // as protobuf writes it
	case 9:
		l.Deleting = true
	case 11:
		p, err := pairOf(f.bytes)
		l.Labels = append(l.Labels, p)
		return err
	case 12:
		p, err := pairOf(f.bytes)
		l.Annotations = append(l.Annotations, p)
		return err
	case 17:
		var w Writer
		err := fields(f.bytes, func(f field) error {
			switch f.number {
			case 1:
				w.Manager = f.bytes
			case 2:
				w.Operation = f.bytes
			case 8:
				w.Subresource = f.bytes
			}
			return nil
		})
		l.Writers = append(l.Writers, w)
		return err
	}
	return nil
}

// pairOf reads an entry of a map.
func pairOf(message []byte) (p Pair, err error) {
	err = fields(message, func(f field) error {
		switch f.number {
		case 1:
			p.Key = f.bytes
		case 2:
			p.Value = f.bytes
		}
		return nil
	})
	return p, err
}

// of takes over what was decoded elsewhere.
func (l *Listed) of(m *metav1.PartialObjectMetadata) {
	*l = Listed{Name: []byte(m.Name), UID: []byte(m.UID), ResourceVersion: []byte(m.ResourceVersion),
		Generation: m.Generation, Deleting: m.DeletionTimestamp != nil, meta: m}
	for k, v := range m.Labels {
		l.Labels = append(l.Labels, Pair{[]byte(k), []byte(v)})
	}
	for k, v := range m.Annotations {
		l.Annotations = append(l.Annotations, Pair{[]byte(k), []byte(v)})
	}
	for _, e := range m.ManagedFields {
		l.Writers = append(l.Writers, Writer{[]byte(e.Manager), []byte(e.Operation), []byte(e.Subresource)})
	}
}

// json reads a page of a server that has no protobuf for the type.
func (s *scanner) json(data []byte) (version, token string, err error) {
	var list metav1.PartialObjectMetadataList
	if err := json.Unmarshal(data, &list); err != nil {
		return "", "", fmt.Errorf("decode the server's answer: %w", err)
	}
	for i := range list.Items {
		s.listed.of(&list.Items[i])
		if err := s.each(&s.listed); err != nil {
			return "", "", err
		}
	}
	return list.ResourceVersion, list.Continue, nil
}

// protobufMagic begins every answer of an API server in protobuf.
const protobufMagic = "k8s\x00"

func isProtobuf(data []byte) bool { return bytes.HasPrefix(data, []byte(protobufMagic)) }

var errMalformed = errors.New("decode the server's answer: the list is malformed")

// unwrap takes off the envelope that names the type.
func unwrap(data []byte) (list []byte, err error) {
	err = fields(data[len(protobufMagic):], func(f field) error {
		if f.number == 2 { // raw
			list = f.bytes
		}
		return nil
	})
	return list, err
}

// listHead is what begins a list.
type listHead struct{ version, token []byte }

// headOf finds the head in the first part of an answer. It is the first field of
// the list, which follows the envelope's name of the type.
func headOf(part []byte) (head listHead, complete bool) {
	if !isProtobuf(part) {
		return head, false
	}
	part = part[len(protobufMagic):]
	for { // the envelope
		number, n := binary.Uvarint(part)
		size, m := binary.Uvarint(part[max(n, 0):])
		if n <= 0 || m <= 0 {
			return head, false
		}
		part = part[n+m:]
		if number == 2<<3|2 {
			break
		}
		if uint64(len(part)) < size {
			return head, false
		}
		part = part[size:]
	}
	f, _, err := next(part)
	if err != nil || f.number != 1 {
		return head, false
	}
	err = fields(f.bytes, func(f field) error {
		switch f.number {
		case 2:
			head.version = f.bytes
		case 3:
			head.token = f.bytes
		}
		return nil
	})
	return head, err == nil
}

// field is one of a protobuf message.
type field struct {
	number uint64
	value  uint64 // of numbers
	bytes  []byte // of anything else
}

// fields calls each for the fields of a message.
func fields(message []byte, each func(field) error) error {
	for len(message) > 0 {
		f, rest, err := next(message)
		if err != nil {
			return err
		}
		if err := each(f); err != nil {
			return err
		}
		message = rest
	}
	return nil
}

// next takes one field off a message.
func next(message []byte) (f field, rest []byte, err error) {
	key, n := binary.Uvarint(message)
	if n <= 0 {
		return f, nil, errMalformed
	}
	message = message[n:]
	f.number = key >> 3
	var size uint64
	switch key & 7 {
	case 0:
		value, n := binary.Uvarint(message)
		if n <= 0 {
			return f, nil, errMalformed
		}
		f.value = value
		return f, message[n:], nil
	case 1:
		size = 8
	case 2:
		length, n := binary.Uvarint(message)
		if n <= 0 || length > math.MaxInt32 {
			return f, nil, errMalformed
		}
		size, message = length, message[n:]
	case 5:
		size = 4
	default:
		return f, nil, errMalformed
	}
	if uint64(len(message)) < size {
		return f, nil, errMalformed
	}
	f.bytes = message[:size]
	return f, message[size:], nil
}
