package git

import (
	"bytes"
	"context"
	"time"

	"golang.org/x/crypto/ssh"
)

// What the fuzz targets need to see of the inside.

var (
	SplitCommit   = splitCommit
	SplitTag      = splitTag
	ValidRefName  = validRefName
	BadName       = badName
	ParseIdentity = parseIdentity
	MatchPattern  = matchPattern
)

func ParseCommit(raw []byte) (*Commit, error) { return parseCommit(id{}, raw) }

func ParseTag(raw []byte) (*Tag, string, error) { return parseTag(id{}, raw) }

// TreeNames parses a tree and returns its names.
func TreeNames(raw []byte) ([]string, error) {
	t, err := parseTree(id{}, raw)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range t.entries {
		names = append(names, e.name)
	}
	return names, nil
}

// ReadPack decodes a pack and returns how many objects it has.
func ReadPack(ctx context.Context, pack []byte, lim Limits) (int, error) {
	objs, err := readPack(ctx, bytes.NewReader(pack), lim.withDefaults())
	return len(objs), err
}

// ReadAdvertisement reads a list of references and returns their names.
func ReadAdvertisement(data []byte) ([]string, error) {
	adv, err := readAdvertisement(newPacketReader(bytes.NewReader(data)), Limits{References: 1000})
	if err != nil {
		return nil, err
	}
	return adv.names(""), nil
}

// CheckSSHSignature parses a signature and checks it over a payload.
func CheckSSHSignature(armored, payload []byte) error {
	s, err := parseSSHSignature(armored)
	if err != nil {
		return err
	}
	return s.verify(payload)
}

// SSHSignatureFields parses a signature and returns its namespace, its hash, its
// key and what the key made.
func SSHSignatureFields(armored []byte) ([]string, error) {
	s, err := parseSSHSignature(armored)
	if err != nil {
		return nil, err
	}
	return []string{s.namespace, s.hash, string(s.key.Marshal()), string(ssh.Marshal(s.signature))}, nil
}

// OpenPGPSignature reads an armored signature and returns what is inside.
func OpenPGPSignature(armored []byte) ([]byte, error) {
	blob, _, err := readOpenPGP(armored)
	return blob, err
}

// CheckSignature checks an armored signature of any format.
func (k *Keys) CheckSignature(payload, armored []byte) error {
	_, err := k.verify(&SignatureError{Object: "commit"}, payload, armored, time.Time{})
	return err
}

// MatchKnownHost parses a known_hosts file and returns the algorithms for a
// host.
func MatchKnownHost(file []byte, host string) ([]string, error) {
	known, err := parseKnownHosts(file)
	if err != nil {
		return nil, err
	}
	return known.algorithms(host), nil
}
