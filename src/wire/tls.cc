#include "wire/tls.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.hpp"

namespace rayx::wire {
namespace {

constexpr char kIdentity[] = "rayx";  // of the pre-shared key: there is one
constexpr char kCipher[] = "TLS_AES_128_GCM_SHA256";
constexpr unsigned char kCipherId[] = {0x13, 0x01};
constexpr std::size_t kBufferBytes = 256 * 1024;
constexpr std::size_t kRecordRoom = 17 * 1024;  // one record of 16 KiB and what TLS adds

// A buffer that is filled behind and emptied in front.
struct Bytes {
  std::unique_ptr<std::byte[]> data{new std::byte[kBufferBytes]};
  std::size_t begin = 0;
  std::size_t end = 0;

  std::size_t size() const { return end - begin; }
  std::size_t room() const { return kBufferBytes - end; }
  void consume(std::size_t bytes) {
    begin += bytes;
    if (begin == end) begin = end = 0;
  }
  void compact() {
    if (begin == 0) return;
    std::memmove(data.get(), data.get() + begin, size());
    end -= begin;
    begin = 0;
  }
};

struct Pipe {
  Bytes in;
  Bytes out;
};

template <auto kFree>
struct Freer {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};

}  // namespace

struct TlsSession::State {
  Digest key{};
  std::unique_ptr<SSL_CTX, Freer<SSL_CTX_free>> context;
  std::unique_ptr<SSL, Freer<SSL_free>> ssl;
  Pipe pipe;
  bool has_ended = false;
  bool is_shaking_hands = true;
  Error error;

  SSL_SESSION* make_session(SSL* of) const;
  Step after(int result);
};

namespace {

TlsSession::Step failed(Error& error, Error why) {
  if (error.code == ErrorCode::kOk) error = std::move(why);
  return TlsSession::Step::kFailed;
}

// OpenSSL's idea of a socket: our two buffers.
int bio_write(BIO* bio, const char* data, std::size_t bytes, std::size_t* written) {
  Bytes& out = static_cast<Pipe*>(BIO_get_data(bio))->out;
  BIO_clear_retry_flags(bio);
  const std::size_t taken = std::min(bytes, out.room());
  if (taken == 0) {
    BIO_set_retry_write(bio);
    return 0;
  }
  std::memcpy(out.data.get() + out.end, data, taken);
  out.end += taken;
  *written = taken;
  return 1;
}
int bio_read(BIO* bio, char* data, std::size_t bytes, std::size_t* read) {
  Bytes& in = static_cast<Pipe*>(BIO_get_data(bio))->in;
  BIO_clear_retry_flags(bio);
  const std::size_t given = std::min(bytes, in.size());
  if (given == 0) {
    BIO_set_retry_read(bio);
    return 0;
  }
  std::memcpy(data, in.data.get() + in.begin, given);
  in.consume(given);
  *read = given;
  return 1;
}
long bio_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

BIO_METHOD* make_bio_method() {
  BIO_METHOD* const method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "rayx");
  if (method == nullptr) return nullptr;
  BIO_meth_set_write_ex(method, bio_write);
  BIO_meth_set_read_ex(method, bio_read);
  BIO_meth_set_ctrl(method, bio_control);
  return method;
}

std::string openssl_reason() {
  const unsigned long code = ERR_peek_last_error();
  const char* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "no reason given" : reason;
}

}  // namespace

// A session that never was, with our key: how OpenSSL takes a pre-shared key for TLS 1.3.
SSL_SESSION* TlsSession::State::make_session(SSL* of) const {
  SSL_SESSION* const session = SSL_SESSION_new();
  const SSL_CIPHER* const cipher = SSL_CIPHER_find(of, kCipherId);
  if (session != nullptr && cipher != nullptr &&
      SSL_SESSION_set1_master_key(session, reinterpret_cast<const unsigned char*>(key.data()), key.size()) == 1 &&
      SSL_SESSION_set_cipher(session, cipher) == 1 && SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1) {
    return session;
  }
  SSL_SESSION_free(session);
  return nullptr;
}

Result<std::unique_ptr<TlsSession>> TlsSession::create(Role role, const Digest& key) {
  auto state = std::make_unique<State>();
  state->key = key;
  static BIO_METHOD* const method = make_bio_method();
  const auto use_session = [](SSL* ssl, const EVP_MD*, const unsigned char** id, std::size_t* id_bytes,
                              SSL_SESSION** session) {
    *id = reinterpret_cast<const unsigned char*>(kIdentity);
    *id_bytes = sizeof(kIdentity) - 1;
    *session = static_cast<State*>(SSL_get_app_data(ssl))->make_session(ssl);
    return *session != nullptr ? 1 : 0;
  };
  const auto find_session = [](SSL* ssl, const unsigned char* id, std::size_t id_bytes, SSL_SESSION** session) {
    *session = nullptr;
    if (id_bytes != sizeof(kIdentity) - 1 || std::memcmp(id, kIdentity, id_bytes) != 0) return 1;
    *session = static_cast<State*>(SSL_get_app_data(ssl))->make_session(ssl);
    return *session != nullptr ? 1 : 0;
  };
  ERR_clear_error();
  // A context for each session: it is made a few times a second at most, and holds nothing that two links could share by mistake.
  state->context.reset(SSL_CTX_new(TLS_method()));
  SSL_CTX* const context = state->context.get();
  bool is_ready = method != nullptr && context != nullptr &&
                  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
                  SSL_CTX_set_ciphersuites(context, kCipher) == 1 && SSL_CTX_set1_groups_list(context, "X25519") == 1 &&
                  SSL_CTX_set_num_tickets(context, 0) == 1;
  if (is_ready) {
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_early_data(context, 0);
    SSL_CTX_set_psk_use_session_callback(context, use_session);
    SSL_CTX_set_psk_find_session_callback(context, find_session);
    state->ssl.reset(SSL_new(context));
    BIO* const bio = state->ssl ? BIO_new(method) : nullptr;
    is_ready = bio != nullptr;
    if (is_ready) {
      BIO_set_data(bio, &state->pipe);
      BIO_set_init(bio, 1);
      SSL_set_bio(state->ssl.get(), bio, bio);
      SSL_set_app_data(state->ssl.get(), state.get());
      role == Role::kClient ? SSL_set_connect_state(state->ssl.get()) : SSL_set_accept_state(state->ssl.get());
    }
  }
  if (!is_ready) {
    return Error{ErrorCode::kUnsupported, "TLS 1.3 cannot be used in this process: OpenSSL says \"" + openssl_reason() +
                                              "\". Look at its configuration (OPENSSL_CONF)"};
  }
  return std::unique_ptr<TlsSession>(new TlsSession(std::move(state)));
}

TlsSession::TlsSession(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsSession::~TlsSession() { wipe(state_->key); }

TlsSession::Step TlsSession::State::after(int result) {
  if (error.code != ErrorCode::kOk) return Step::kFailed;
  switch (SSL_get_error(ssl.get(), result)) {
    case SSL_ERROR_NONE: return Step::kDone;
    case SSL_ERROR_WANT_READ: return Step::kNeedsInput;
    case SSL_ERROR_ZERO_RETURN:
      has_ended = true;
      return failed(error, {ErrorCode::kSystemError, "the peer ended the encrypted session"});
    default: break;
  }
  const unsigned long code = ERR_peek_error();
  const int reason = ERR_GET_REASON(code);
  const std::string words = openssl_reason();
  ERR_clear_error();
  // A key that differs shows as a binder that does not verify at the server, and as an alert at the client.
  const bool is_token = is_shaking_hands &&
                        (reason == SSL_R_BINDER_DOES_NOT_VERIFY || reason == SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER ||
                         reason == SSL_R_TLSV1_ALERT_DECRYPT_ERROR || reason == SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM);
  if (is_token) {
    return failed(error, {ErrorCode::kInvalidConfig,
                          "the token differs: the encrypted session cannot be set up with the one of this process. To "
                          "join, " +
                              std::string(kTokenAdvice)});
  }
  return failed(error, {ErrorCode::kMalformed, std::string(is_shaking_hands ? "the encrypted session cannot be set up"
                                                                            : "the encrypted session broke") +
                                                   ": OpenSSL says \"" + words + "\""});
}

TlsSession::Step TlsSession::shake_hands() {
  ERR_clear_error();
  const Step step = state_->after(SSL_do_handshake(state_->ssl.get()));
  if (step == Step::kDone) {
    state_->is_shaking_hands = false;
    // Both sides must have used the key: a session without it would prove nothing. (OpenSSL has no certificate to fall back to.)
    RAYX_CHECK(SSL_session_reused(state_->ssl.get()) == 1, "a TLS session without the pre-shared key");
  }
  return step;
}

Digest TlsSession::exported() const {
  constexpr std::string_view kLabel = "EXPORTER-rayx-wire";
  Digest result;
  const int done = SSL_export_keying_material(state_->ssl.get(), reinterpret_cast<unsigned char*>(result.data()),
                                              result.size(), kLabel.data(), kLabel.size(), nullptr, 0, 0);
  RAYX_CHECK(done == 1, "OpenSSL exports no key of this session");
  return result;
}

TlsSession::Step TlsSession::read(std::span<std::byte> out, std::size_t& bytes) {
  bytes = 0;
  if (out.empty()) return Step::kDone;
  ERR_clear_error();
  return state_->after(SSL_read_ex(state_->ssl.get(), out.data(), out.size(), &bytes));
}

TlsSession::Step TlsSession::write(std::span<const std::byte> data, std::size_t& bytes) {
  bytes = 0;
  if (data.empty()) return Step::kDone;
  // OpenSSL must never keep half a record that it could not get rid of.
  if (state_->pipe.out.room() < kRecordRoom) state_->pipe.out.compact();
  if (state_->pipe.out.room() < kRecordRoom) return Step::kDone;
  ERR_clear_error();
  return state_->after(SSL_write_ex(state_->ssl.get(), data.data(), data.size(), &bytes));
}

std::span<std::byte> TlsSession::input_space() {
  if (state_->pipe.in.room() < kRecordRoom) state_->pipe.in.compact();
  return {state_->pipe.in.data.get() + state_->pipe.in.end, state_->pipe.in.room()};
}
void TlsSession::commit_input(std::size_t bytes) { state_->pipe.in.end += bytes; }
std::span<const std::byte> TlsSession::output() const {
  return {state_->pipe.out.data.get() + state_->pipe.out.begin, state_->pipe.out.size()};
}
void TlsSession::consume_output(std::size_t bytes) { state_->pipe.out.consume(bytes); }
bool TlsSession::has_ended() const { return state_->has_ended; }
const Error& TlsSession::error() const { return state_->error; }

}  // namespace rayx::wire
