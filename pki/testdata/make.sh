#!/bin/sh
# Makes the certificates and revocation lists beside it with OpenSSL 3. Keys are thrown away, so each run makes others; times are fixed.
# Names: <authority>.pem, <leaf>.pem, <list>.crl (DER).
set -eu
out=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
from=20260101000000Z
to=20360101000000Z

key() { # name algorithm
	case $2 in
	ed25519) openssl genpkey -algorithm ed25519 -out "$1.key" ;;
	rsa) openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out "$1.key" 2>/dev/null ;;
	*) openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:"$2" -pkeyopt ec_param_enc:named_curve -out "$1.key" ;;
	esac
}

config() { # of an issuer: its database, and the extensions of lists
	[ -d "$1.db" ] || { mkdir "$1.db" && : >"$1.db/index" && echo 01 >"$1.db/number"; }
	case $(openssl pkey -in "$1.key" -noout -text | head -1) in *ED25519*) md=default ;; *521*) md=sha512 ;; *384*) md=sha384 ;; *) md=sha256 ;; esac
	cat >"$1.cnf" <<END
[ca]
default_ca = it
[it]
database = $1.db/index
crlnumber = $1.db/number
new_certs_dir = $1.db
rand_serial = yes
unique_subject = no
default_md = $md
policy = any
crl_extensions = crl
copy_extensions = none
[any]
organizationName = optional
commonName = optional
[crl]
authorityKeyIdentifier = keyid
[crl_idp]
authorityKeyIdentifier = keyid
issuingDistributionPoint = critical, @idp
[idp]
fullname = URI:http://ca.wire.example/intermediate.crl
END
}

# certify name issuer subject extensions... : name.key is certified by issuer.key; an issuer's certificate is $issuercert or issuer.pem
certify() {
	name=$1 issuer=$2 subject=$3
	shift 3
	config "$issuer"
	{ echo "[x]"; for e in "$@"; do echo "$e"; done; } >x.ext
	openssl req -new -key "$name.key" -subj "$subject" -utf8 -out x.csr 2>/dev/null
	self=
	[ "$name" != "$issuer" ] || self=-selfsign
	openssl ca -batch -config "$issuer.cnf" -keyfile "$issuer.key" ${self:--cert "${issuercert:-$issuer.pem}"} $self -in x.csr -startdate "$from" -enddate "$to" \
		-extfile x.ext -extensions x -notext -preserveDN -utf8 -out "${file:-$name}.pem" 2>log || { cat log; exit 1; }
	cp "${file:-$name}.pem" "$out/"
}

list() { # name issuer [ca options]
	name=$1 issuer=$2
	shift 2
	config "$issuer"
	openssl ca -gencrl -config "$issuer.cnf" -keyfile "$issuer.key" -cert "$issuer.pem" "$@" -out x.crl 2>log || { cat log; exit 1; }
	openssl crl -in x.crl -outform DER -out "$out/$name.crl"
}

revoke() { # name issuer reason
	openssl ca -config "$2.cnf" -keyfile "$2.key" -cert "$2.pem" -revoke "$1.pem" -crl_reason "$3" 2>log || { cat log; exit 1; }
}

ca="basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash"
child="authorityKeyIdentifier=keyid:always"
ee="keyUsage=critical,digitalSignature
extendedKeyUsage=clientAuth
subjectKeyIdentifier=hash
$child"
crldp="crlDistributionPoints=URI:http://ca.wire.example/intermediate.crl"
names() { # domain
	echo "subjectAltName=URI:wireapp://%40alice_wire@$1,URI:wireapp://WqEqc9dIRoKh3VyUJ8k6QA%219e4ef7e72ec9e5b9@$1"
}

# A chain of each key type.
for t in ed25519 P-256 P-384 P-521; do
	for n in root intermediate leaf; do key $n-$t $t; done
	certify root-$t root-$t "/O=wire.example/CN=Root $t" "$ca"
	certify intermediate-$t root-$t "/O=wire.example/CN=Intermediate $t" "$ca" "$child"
	certify leaf-$t intermediate-$t "/O=wire.example/CN=Alice Smith" "$ee" "$crldp" "$(names wire.example)"
done

# The chain of Wire's templates on step-ca: constraints, the marker of the provisioner, an Ed25519 leaf below ECDSA.
key wire-root P-256
key wire-intermediate P-256
key wire-leaf ed25519
certify wire-root wire-root "/CN=Wire Root CA" "$ca"
certify wire-intermediate wire-root "/CN=Wire Intermediate CA" "basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
nameConstraints=critical,permitted;DNS:localhost,permitted;URI:wire.localhost" "$child"
certify wire-leaf wire-intermediate "/O=wire.localhost/CN=Alice Smith" "$ee" "crlDistributionPoints=URI:https://localhost:9000/1.0/crl" \
	"1.3.6.1.4.1.37476.9000.64.1=DER:30100201060404776972650400040030003000" "$(names wire.localhost)"

# Another root certifies the intermediate of the first (a federated backend).
issuercert=root-P-384.pem file=cross certify intermediate-P-256 root-P-384 "/O=wire.example/CN=Intermediate P-256" "$ca" "$child"

# An intermediate without the identifier of its key.
key nokeyid P-256
certify nokeyid root-P-256 "/CN=No key id" "basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=none" "$child"

# What has to be refused. All are below wire-root and wire-intermediate or root-P-256 and intermediate-P-256.
key odd P-256
file=constraint certify odd wire-intermediate "/O=evil.example/CN=Alice Smith" "$ee" "$(names evil.example)"
file=subdomain certify odd wire-intermediate "/O=a.wire.localhost/CN=Alice Smith" "$ee" "$(names a.wire.localhost)"
key lower P-256
certify lower wire-intermediate "/CN=One too many" "$ca" "$child"
file=toolong certify odd lower "/O=wire.localhost/CN=Alice Smith" "$ee" "$(names wire.localhost)"
i=intermediate-P-256 alice="/O=wire.example/CN=Alice Smith"
file=agreement certify odd $i "$alice" "keyUsage=critical,keyAgreement" "$child" "$(names wire.example)"
file=server certify odd $i "$alice" "keyUsage=critical,digitalSignature" "extendedKeyUsage=serverAuth" "$child" "$(names wire.example)"
file=authority certify odd $i "$alice" "$ca" "$child" "$(names wire.example)"
file=belowleaf issuercert=leaf-P-256.pem certify odd leaf-P-256 "$alice" "$ee" "$(names wire.example)"
file=critical certify odd $i "$alice" "$ee" "1.2.3.4.5=critical,DER:0500" "$(names wire.example)"
file=twodevices certify odd $i "$alice" "$ee" "$(names wire.example),URI:wireapp://WqEqc9dIRoKh3VyUJ8k6QA%21a@wire.example"
file=twohandles certify odd $i "$alice" "$ee" "$(names wire.example),URI:wireapp://%40bob@wire.example"
file=extranames certify odd $i "$alice" "$ee" "subjectAltName=DNS:wire.example,URI:https://wire.example/x,URI:wireapp://WqEqc9dIRoKh3VyUJ8k6QA!9e4ef7e72ec9e5b9@wire.example,email:a@wire.example,URI:wireapp://%40alice_wire@wire.example"
file=nohandle certify odd $i "$alice" "$ee" "subjectAltName=URI:wireapp://WqEqc9dIRoKh3VyUJ8k6QA%219e4ef7e72ec9e5b9@wire.example"
file=noclient certify odd $i "$alice" "$ee" "subjectAltName=URI:wireapp://%40alice_wire@wire.example"
file=nonames certify odd $i "$alice" "$ee"
file=nodomain certify odd $i "/CN=Alice Smith" "$ee" "$(names wire.example)"
file=nodisplay certify odd $i "/O=wire.example" "$ee" "$(names wire.example)"
file=twodomains certify odd $i "/O=evil.example/CN=Alice Smith" "$ee" "$(names wire.example)"
file=selfsigned certify odd odd "$alice" "$ee" "$(names wire.example)"
key rsa rsa
file=rsa certify rsa $i "$alice" "$ee" "$(names wire.example)"
from=20260101000000Z to=20260201000000Z
file=expired certify odd $i "$alice" "$ee" "$(names wire.example)"
from=20270101000000Z to=20280101000000Z
file=early certify odd $i "$alice" "$ee" "$(names wire.example)"
from=20200101000000Z to=20260301000000Z
key root-old P-256
certify root-old root-old "/CN=Old root" "$ca"
from=20260101000000Z to=20360101000000Z
key leaf-old P-256
certify leaf-old root-old "/O=wire.example/CN=Alice Smith" "$ee" "$(names wire.example)"
# Another key under the name of the intermediate, with and without a key identifier that tells them apart.
key impostor P-256
certify impostor impostor "/O=wire.example/CN=Intermediate P-256" "$ca"
file=otherkey certify odd impostor "$alice" "$ee" "$(names wire.example)"
file=wrongkey certify odd impostor "$alice" "keyUsage=critical,digitalSignature" "authorityKeyIdentifier=none" "$(names wire.example)"

# Lists of intermediate-P-256. The first is empty.
i=intermediate-P-256
list empty $i -crl_lastupdate 20260501000000Z -crl_nextupdate 20260701000000Z
list empty-idp $i -crlexts crl_idp -crl_lastupdate 20260501000000Z -crl_nextupdate 20260701000000Z
revoke leaf-P-256 $i keyCompromise
list revoked $i -crl_lastupdate 20260502000000Z -crl_nextupdate 20260702000000Z
list revoked-idp $i -crlexts crl_idp -crl_lastupdate 20260502000000Z -crl_nextupdate 20260702000000Z
list stranger impostor -crl_lastupdate 20260501000000Z -crl_nextupdate 20260701000000Z
revoke intermediate-P-256 root-P-256 CACompromise
list revoked-intermediate root-P-256 -crl_lastupdate 20260501000000Z -crl_nextupdate 20260701000000Z
