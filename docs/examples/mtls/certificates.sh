#!/bin/sh
# An authority for servers and one for clients, and what they issue. Usage: certificates.sh FOLDER
# Each certificate is for one day: this is an example. Real authorities keep their keys elsewhere.
set -eu
umask 077
mkdir -p "$1"
cd "$1"

new_key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null || openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null; }

# authority FILE NAME
authority() {
  new_key "$1"
  openssl req -x509 -new -key "$1.key" -subj "/O=Example/CN=$2" -days 1 \
    -addext 'basicConstraints=critical,CA:TRUE,pathlen:0' -addext 'keyUsage=critical,keyCertSign,cRLSign' -out "$1.pem"
}

# issue FILE AUTHORITY PURPOSE ALTERNATIVE-NAMES
issue() {
  new_key "$1"
  openssl req -new -key "$1.key" -subj "/O=Example/CN=$1" -out "$1.csr"
  printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=%s\nsubjectAltName=%s\n' \
    "$3" "$4" >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days 1 -extfile "$1.ext" -out "$1.pem" 2>/dev/null
  rm "$1.csr" "$1.ext"
}

authority server-ca 'Example servers'
authority client-ca 'Example clients'
issue countersign server-ca serverAuth DNS:localhost,IP:127.0.0.1
issue stock server-ca serverAuth DNS:localhost,IP:127.0.0.1
issue orders client-ca clientAuth DNS:orders.example.internal
issue thief client-ca clientAuth DNS:thief.example.internal
