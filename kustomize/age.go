package kustomize

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// NewAgeDecrypter returns a decrypter for files that SOPS encrypted for age
// recipients, post-quantum ones included. Keys are in the form of age's key files:
// a key on each line, with comments and empty lines.
//
// It checks the checksum over each file, and reads YAML, JSON, dotenv and binary
// files. INI files, keys split among several groups, and files that choose what is
// encrypted by comments, are errors that say so: the module kustomize/sops reads
// those. No error holds a key or plain text.
func NewAgeDecrypter(keys ...[]byte) (Decrypter, error) {
	var d ageDecrypter
	sum := sha256.New()
	for _, text := range keys {
		for i, line := range strings.Split(string(text), "\n") {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			ids, err := age.ParseIdentities(strings.NewReader(line))
			if err != nil {
				// Its message may hold a part of the key.
				return nil, fmt.Errorf("kustomize: line %d of the age keys is not a key: it should begin with AGE-SECRET-KEY-", i+1)
			}
			d.keys = append(d.keys, ids...)
			sum.Write([]byte(line + "\n"))
		}
	}
	if len(d.keys) == 0 {
		return nil, errors.New("kustomize: there is no age key")
	}
	d.identity = "age:" + hex.EncodeToString(sum.Sum(nil))
	return &d, nil
}

type ageDecrypter struct {
	keys     []age.Identity
	identity string
}

// Identity is a digest of the keys. They are random, so it gives nothing away.
func (d *ageDecrypter) Identity() string { return d.identity }

// Decrypt decrypts one file.
func (d *ageDecrypter) Decrypt(ctx context.Context, _ string, format Format, data []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	file, err := parseSealed(format, data)
	if err != nil {
		return nil, err
	}
	key, err := d.dataKey(file.meta)
	if err != nil {
		return nil, err
	}
	if err := file.open(key); err != nil {
		return nil, err
	}
	return file.plain(format)
}

// dataKey finds the key that a file is encrypted with: encrypted itself, once for
// each recipient.
func (d *ageDecrypter) dataKey(meta sopsMeta) ([]byte, error) {
	recipients := meta.Age
	if len(meta.KeyGroups) == 1 {
		recipients = meta.KeyGroups[0].Age
	}
	if len(meta.KeyGroups) > 1 {
		return nil, errors.New("its key is split among several groups, which this decrypter does not read: use the module kustomize/sops")
	}
	if len(recipients) == 0 {
		return nil, errors.New("it is not encrypted for an age key: use the module kustomize/sops for other keys")
	}
	var names []string
	for _, r := range recipients {
		const longest = 64 << 10
		if plain, err := age.Decrypt(armor.NewReader(strings.NewReader(r.Enc)), d.keys...); err == nil {
			var key bytes.Buffer
			if _, err := io.Copy(&key, io.LimitReader(plain, longest)); err == nil {
				return key.Bytes(), nil
			}
		}
		names = append(names, quote(r.Recipient))
	}
	return nil, fmt.Errorf("none of the age keys fits; it is encrypted for %s", strings.Join(names[:min(len(names), 5)], ", "))
}
