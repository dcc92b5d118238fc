#include "host/job.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "bundle/manifest.hpp"

namespace rayx::host {

void Job::stage(std::function<void(Result<Missing>)> answer) {
  bench_.post([self = shared_from_this(), answer = std::move(answer)] {
    const auto stage = [&]() -> Result<Missing> {
      Result<bundle::Manifest> manifest = bundle::decode_manifest(self->about_.manifest);
      if (!manifest) return std::move(manifest).error();
      Result<bundle::Staging> staging = self->cache_.stage(std::move(*manifest));
      if (!staging) return std::move(staging).error();
      self->staging_ = std::make_unique<bundle::Staging>(std::move(*staging));
      Missing missing;
      for (const std::size_t file : self->staging_->missing()) {
        Result<bundle::FileWriter> writer = self->staging_->write(file);
        if (!writer) return std::move(writer).error();
        self->writers_.emplace(static_cast<std::uint32_t>(file), std::move(*writer));
        missing.files.push_back(static_cast<std::uint32_t>(file));
        missing.digests.push_back(self->staging_->manifest().files[file].digest);
        missing.bytes += self->staging_->manifest().files[file].bytes;
      }
      return missing;
    };
    self->tell(answer, stage());
  });
}

void Job::append(std::uint32_t file, std::vector<std::byte> bytes, std::function<void()> done) {
  bench_.post([self = shared_from_this(), file, bytes = std::move(bytes), done = std::move(done)] {
    const auto writer = self->writers_.find(file);
    if (!self->problem_.empty()) {
    } else if (writer == self->writers_.end()) {
      self->problem_ = "rayx: a file came that was not asked for";
    } else if (const Result<void> appended = writer->second.append(bytes); !appended) {
      self->problem_ = appended.error().message;
    }
    self->network_.loop().post(done);
  });
}

Result<void> Job::finish_files() {
  if (!problem_.empty()) return Error{ErrorCode::kSystemError, problem_};
  for (auto& [file, writer] : writers_) {
    Result<void> finished = writer.finish();
    if (!finished) return finished;
  }
  writers_.clear();
  return {};
}

Result<void> Job::make_pipes() {
  for (base::UniqueFd* const pipe : {out_, err_}) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
      return Error{ErrorCode::kSystemError, std::string("rayx: no pipe for what the job prints (") +
                                                std::strerror(errno) + "). Raise the limit of open files (ulimit -n)"};
    pipe[0] = base::UniqueFd(ends[0]);
    pipe[1] = base::UniqueFd(ends[1]);
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  }
  return {};
}

Result<void> Job::start_site() {
  Result<void> files = finish_files();
  if (!files) return files;
  Result<void> pipes = is_detached_ ? Result<void>() : make_pipes();
  if (!pipes) return pipes;
  Result<bundle::Layout> layout = std::move(*staging_).lay_out();
  staging_.reset();
  if (!layout) return std::move(layout).error();
  layout_ = std::make_unique<bundle::Layout>(std::move(*layout));
  relay::SiteConfig config;
  config.node.cpus = resources_.cpus;
  config.node.shared_cpus = resources_.shared_cpus;
  config.node.store_bytes = resources_.store_bytes;
  config.node.shared_memory = resources_.shared_memory;
  config.node.max_workers = resources_.max_workers;
  config.node.modules = about_.modules;
  config.node.program = {layout_->executable(), {about_.name}, layout_->library_path()};
  if (!is_detached_) {
    config.node.out_fd = out_[1].get();
    config.node.err_fd = err_[1].get();
  }
  config.submit_timeout = std::chrono::nanoseconds(about_.submit_timeout_ns);
  config.pending_max = about_.pending_max;
  config.site = {about_.node, about_.job, is_detached_};
  config.name = resources_.name;
  config.labels = resources_.labels;
  config.places = &places_;
  Result<std::unique_ptr<relay::Site>> site = relay::Site::start(std::move(config));
  if (!site) return std::move(site).error();
  site_ = std::move(*site);
  return {};
}

void Job::start(std::function<void(Result<void>)> answer) {
  bench_.post([self = shared_from_this(), answer = std::move(answer)] { self->tell(answer, self->start_site()); });
}

void Job::end(std::function<void()> done) {
  bench_.post([self = shared_from_this(), done = std::move(done)] {
    self->writers_.clear();
    self->staging_.reset();
    if (self->site_ != nullptr) self->site_->stop();
    self->site_.reset();
    self->layout_.reset();
    self->out_[1] = {};
    self->err_[1] = {};
    if (done) self->network_.loop().post(done);
  });
}

}  // namespace rayx::host
