// A server's key and certificate, made at its first start: see tls.h. One file holds both, so that there is no moment at
// which they do not belong together.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/rpc/tls_internal.h"

// "" where it could not stand in a certificate.
static void host_name(char name[256])
{
    if (gethostname(name, 256))
        *name = 0;
    name[255] = 0;
    for (const char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '.' && *c != '-')
            *name = 0;
    if (strlen(name) > 64) // a common name's limit
        *name = 0;
}

static int add_extension(X509 *certificate, int kind, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    int rc = extension && X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return rc;
}

static int name_it(X509 *certificate)
{
    char host[256];
    host_name(host);
    X509_NAME *name = X509_get_subject_name(certificate);
    char *names = xprintf("%s%s%sDNS:localhost,IP:127.0.0.1,IP:::1", *host ? "DNS:" : "", host, *host ? "," : "");
    int rc = X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)"islr", -1, -1, 0) &&
             X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)(*host ? host : "localhost"),
                                        -1, -1, 0) &&
             X509_set_issuer_name(certificate, name) && add_extension(certificate, NID_subject_alt_name, names);
    free(names);
    return rc;
}

// For ever, since it is known by its hash (the date is RFC 5280's for that); from a day ago, for clocks that differ.
static int date_it(X509 *certificate)
{
    return X509_gmtime_adj(X509_getm_notBefore(certificate), -24 * 60 * 60) &&
           ASN1_TIME_set_string(X509_getm_notAfter(certificate), "99991231235959Z");
}

static X509 *certify(EVP_PKEY *key)
{
    X509 *certificate = X509_new();
    unsigned char random[16];
    BIGNUM *serial = RAND_bytes(random, sizeof random) == 1 ? BN_bin2bn(random, sizeof random, NULL) : NULL;
    int done = certificate && serial && X509_set_version(certificate, X509_VERSION_3) &&
               BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(certificate)) && name_it(certificate) &&
               date_it(certificate) && X509_set_pubkey(certificate, key) &&
               add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE") &&
               add_extension(certificate, NID_key_usage, "critical,digitalSignature") &&
               add_extension(certificate, NID_ext_key_usage, "serverAuth") && X509_sign(certificate, key, EVP_sha256());
    BN_free(serial);
    if (done)
        return certificate;
    X509_free(certificate);
    return NULL;
}

int tls_make_identity(const char *path, struct error *e)
{
    ERR_clear_error();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = key ? certify(key) : NULL;
    BIO *text = BIO_new(BIO_s_secmem()); // wiped when it is freed
    char *data;
    int rc = 0;
    if (!certificate || !text || !PEM_write_bio_PrivateKey(text, key, NULL, NULL, 0, NULL, NULL) ||
        !PEM_write_bio_X509(text, certificate))
        rc = tls_fault(e, ERR_FAILED, "cannot make the server's key and certificate");
    if (!rc) {
        long size = BIO_get_mem_data(text, &data);
        rc = file_write_secret(path, data, (size_t)size, e);
    }
    BIO_free(text);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return rc;
}
