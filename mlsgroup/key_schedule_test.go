package mlsgroup

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/conclave-mls/conclave/internal/secret"
)

func TestKeyScheduleVectors(t *testing.T) {
	for _, v := range vectors[struct {
		CipherSuite       CipherSuite `json:"cipher_suite"`
		GroupID           hexBytes    `json:"group_id"`
		InitialInitSecret hexBytes    `json:"initial_init_secret"`
		Epochs            []struct {
			TreeHash                hexBytes `json:"tree_hash"`
			CommitSecret            hexBytes `json:"commit_secret"`
			PSKSecret               hexBytes `json:"psk_secret"`
			ConfirmedTranscriptHash hexBytes `json:"confirmed_transcript_hash"`
			GroupContext            hexBytes `json:"group_context"`
			JoinerSecret            hexBytes `json:"joiner_secret"`
			WelcomeSecret           hexBytes `json:"welcome_secret"`
			InitSecret              hexBytes `json:"init_secret"`
			SenderDataSecret        hexBytes `json:"sender_data_secret"`
			EncryptionSecret        hexBytes `json:"encryption_secret"`
			ExporterSecret          hexBytes `json:"exporter_secret"`
			EpochAuthenticator      hexBytes `json:"epoch_authenticator"`
			ExternalSecret          hexBytes `json:"external_secret"`
			ConfirmationKey         hexBytes `json:"confirmation_key"`
			MembershipKey           hexBytes `json:"membership_key"`
			ResumptionPSK           hexBytes `json:"resumption_psk"`
			ExternalPub             hexBytes `json:"external_pub"`
			Exporter                struct {
				Label   string   `json:"label"`
				Context hexBytes `json:"context"`
				Length  int      `json:"length"`
				Secret  hexBytes `json:"secret"`
			} `json:"exporter"`
		} `json:"epochs"`
	}](t, "key-schedule.json") {
		t.Run(fmt.Sprintf("suite=%d", v.CipherSuite), func(t *testing.T) {
			s := mustSuite(t, v.CipherSuite)
			initSecret := secret.Bytes(v.InitialInitSecret)
			for i, e := range v.Epochs {
				gc := GroupContext{
					Version:                 ProtocolVersionMLS10,
					CipherSuite:             v.CipherSuite,
					GroupID:                 v.GroupID,
					Epoch:                   uint64(i),
					TreeHash:                e.TreeHash,
					ConfirmedTranscriptHash: e.ConfirmedTranscriptHash,
				}
				context := gc.Marshal()
				es, joiner := newEpochSecrets(s, initSecret, secret.Bytes(e.CommitSecret), secret.Bytes(e.PSKSecret), context)
				_, pub, err := es.externalKeyPair(s)
				if err != nil {
					t.Fatal(err)
				}
				exported, err := es.export(s, e.Exporter.Label, e.Exporter.Context, e.Exporter.Length)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range []struct {
					name string
					got  []byte
					want []byte
				}{
					{"group_context", context, e.GroupContext},
					{"joiner_secret", joiner, e.JoinerSecret},
					{"welcome_secret", newWelcomeSecret(s, joiner, secret.Bytes(e.PSKSecret)), e.WelcomeSecret},
					{"init_secret", es.init, e.InitSecret},
					{"sender_data_secret", es.senderData, e.SenderDataSecret},
					{"encryption_secret", es.encryption, e.EncryptionSecret},
					{"exporter_secret", es.exporter, e.ExporterSecret},
					{"epoch_authenticator", es.authenticator, e.EpochAuthenticator},
					{"external_secret", es.external, e.ExternalSecret},
					{"confirmation_key", es.confirmation, e.ConfirmationKey},
					{"membership_key", es.membership, e.MembershipKey},
					{"resumption_psk", es.resumption, e.ResumptionPSK},
					{"external_pub", pub, e.ExternalPub},
					{"exporter", exported, e.Exporter.Secret},
				} {
					if !bytes.Equal(c.got, c.want) {
						t.Errorf("epoch %d: %s differs", i, c.name)
					}
				}
				initSecret = es.init
			}
		})
	}
}

func TestPSKSecretVectors(t *testing.T) {
	for i, v := range vectors[struct {
		CipherSuite CipherSuite `json:"cipher_suite"`
		PSKs        []struct {
			ID    hexBytes `json:"psk_id"`
			PSK   hexBytes `json:"psk"`
			Nonce hexBytes `json:"psk_nonce"`
		} `json:"psks"`
		PSKSecret hexBytes `json:"psk_secret"`
	}](t, "psk_secret.json") {
		t.Run(fmt.Sprintf("%d/suite=%d/psks=%d", i, v.CipherSuite, len(v.PSKs)), func(t *testing.T) {
			var psks []preSharedKey
			for _, p := range v.PSKs {
				psks = append(psks, preSharedKey{
					id:  PreSharedKeyID{Type: PSKTypeExternal, ExternalID: p.ID, Nonce: p.Nonce},
					key: secret.Bytes(p.PSK),
				})
			}
			got, err := newPSKSecret(mustSuite(t, v.CipherSuite), psks)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, v.PSKSecret) {
				t.Error("psk_secret differs")
			}
		})
	}
	s := mustSuite(t, CipherSuiteX25519AES128Ed25519)
	if _, err := newPSKSecret(s, make([]preSharedKey, maxPSKs+1)); err == nil {
		t.Error("too many PSKs accepted")
	}
}

func TestTranscriptHashVectors(t *testing.T) {
	for _, v := range vectors[struct {
		CipherSuite          CipherSuite `json:"cipher_suite"`
		ConfirmationKey      hexBytes    `json:"confirmation_key"`
		AuthenticatedContent hexBytes    `json:"authenticated_content"`
		InterimBefore        hexBytes    `json:"interim_transcript_hash_before"`
		ConfirmedAfter       hexBytes    `json:"confirmed_transcript_hash_after"`
		InterimAfter         hexBytes    `json:"interim_transcript_hash_after"`
	}](t, "transcript-hashes.json") {
		t.Run(fmt.Sprintf("suite=%d", v.CipherSuite), func(t *testing.T) {
			s := mustSuite(t, v.CipherSuite)
			var ac AuthenticatedContent
			if err := parse(v.AuthenticatedContent, ac.read); err != nil {
				t.Fatal(err)
			}
			confirmed := confirmedTranscriptHash(s, v.InterimBefore, &ac)
			if !bytes.Equal(confirmed, v.ConfirmedAfter) {
				t.Error("confirmed_transcript_hash differs")
			}
			if !bytes.Equal(interimTranscriptHash(s, confirmed, ac.Auth.ConfirmationTag), v.InterimAfter) {
				t.Error("interim_transcript_hash differs")
			}
			es := epochSecrets{confirmation: secret.Bytes(v.ConfirmationKey)}
			if !bytes.Equal(es.confirmationTag(s, confirmed), ac.Auth.ConfirmationTag) ||
				!es.verifyConfirmationTag(s, confirmed, ac.Auth.ConfirmationTag) {
				t.Error("confirmation_tag differs")
			}
			ac.Auth.ConfirmationTag[3] ^= 1
			if es.verifyConfirmationTag(s, confirmed, ac.Auth.ConfirmationTag) {
				t.Error("wrong confirmation_tag accepted")
			}
		})
	}
}

func TestExternalInit(t *testing.T) {
	for cs := CipherSuite(1); cs.Supported(); cs++ {
		s := mustSuite(t, cs)
		es := epochSecretsFromEpoch(s, make(secret.Bytes, s.HashSize()))
		_, pub, err := es.externalKeyPair(s)
		if err != nil {
			t.Fatal(err)
		}
		out, want, err := newExternalInit(s, pub, make(secret.Bytes, s.SeedSize()))
		if err != nil {
			t.Fatal(err)
		}
		got, err := es.openExternalInit(s, out)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Equal(want) || len(got) != s.HashSize() {
			t.Errorf("suite %d: the two ends have different init secrets", cs)
		}
		if _, err := es.openExternalInit(s, out[1:]); err == nil {
			t.Errorf("suite %d: truncated KEM output accepted", cs)
		}
		if _, err := es.export(s, "label", nil, 255*s.HashSize()+1); err == nil {
			t.Errorf("suite %d: exported more than the KDF gives", cs)
		}
	}
}
