package sops

import (
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/oauth2"
)

// Options hold the keys, and the credentials for services that hold keys. A kind
// without any is not used: a file that needs it is an error that says so.
type Options struct {
	// Identity names the keys and credentials, for [Decrypter.Identity]: change it when
	// they may open other files than before. Empty means a digest of Age and OpenPGP; with
	// credentials for services, it means that this decrypter is like no other, so that
	// what was built before a restart is built again.
	Identity string
	// Age are the texts of age key files.
	Age [][]byte
	// OpenPGP are armored private keys without a passphrase.
	OpenPGP [][]byte
	// AWS gives credentials for AWS KMS.
	AWS aws.CredentialsProvider
	// GCP gives tokens for Google Cloud KMS.
	GCP oauth2.TokenSource
	// Azure gives tokens for Azure Key Vault.
	Azure azcore.TokenCredential
	// AzureHosts are hosts that may be asked with Azure's tokens, beside those that
	// end in .vault.azure.net, .vault.azure.cn and .vault.usgovcloudapi.net.
	AzureHosts []string
	// Vault are the tokens for Vault or OpenBao, each by the address that it is for,
	// such as https://vault.example.com:8200.
	Vault map[string]string
}
