// One job of a node: its program laid out, its site, and the links of its other sites. All on the loop's thread, but for what the
// workbench does.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "bundle/cache.hpp"
#include "host/network.hpp"
#include "host/site_messages.hpp"
#include "host/site_places.hpp"
#include "relay/site.hpp"

namespace rayx::host {

// What a node gives to its jobs, and how it is called.
struct NodeResources {
  int cpus = 1;                                        // of all jobs together
  std::shared_ptr<node::SharedCpus> shared_cpus = {};  // the same, where they are divided; set by the node
  std::uint64_t store_bytes = 0;
  std::shared_ptr<node::SharedMemory> shared_memory = {};  // the same
  int max_workers = 63;
  std::string name = {};  // for people; empty: the host's
  base::Labels labels = {};
};

// What of a program is not on this node.
struct Missing {
  std::vector<std::uint32_t> files;  // places in the manifest
  std::vector<bundle::Digest> digests;
  std::uint64_t bytes = 0;
};

class Job : public std::enable_shared_from_this<Job> {
 public:
  // Detached: of the job's detached actors. What they print goes where this process prints.
  Job(OpenSite about, bool is_detached, NodeResources resources, bundle::Cache& cache, Network& network,
      Workbench& bench, SitePlaces::Host& host)
      : about_(std::move(about)),
        is_detached_(is_detached),
        resources_(std::move(resources)),
        cache_(cache),
        network_(network),
        bench_(bench),
        places_(network.loop(), host) {}

  const OpenSite& about() const { return about_; }
  relay::Site* site() { return site_.get(); }
  SitePlaces& places() { return places_; }

  // Answers once with the files that are missing, and takes them; then start(), if there is no error.
  void stage(std::function<void(Result<Missing>)> answer);
  // So many runs of bytes may wait for the disk; then who brings them is to pause.
  static constexpr int kRunsWaitingMax = 16;
  // One run of bytes of a missing file, in order. An error shows in start(). `done` says when the bytes are on the disk.
  void append(std::uint32_t file, std::vector<std::byte> bytes, std::function<void()> done);
  void start(std::function<void(Result<void>)> answer);
  // Ends its processes, frees what it had, and says so. What they printed is then in the pipes.
  void end(std::function<void()> done);
  // What its processes print, to be read as it comes. -1: closed.
  int out() const { return out_[0].get(); }
  int err() const { return err_[0].get(); }
  // Nobody reads any more: it is dropped.
  void close_output() { out_[0] = {}, err_[0] = {}; }

 private:
  template <class Answer, class Value>
  void tell(Answer answer, Value value) {
    network_.loop().post(
        [answer = std::move(answer), value = std::make_shared<Value>(std::move(value))] { answer(std::move(*value)); });
  }
  Result<void> finish_files();
  Result<void> make_pipes();
  Result<void> start_site();

  const OpenSite about_;
  const bool is_detached_;
  const NodeResources resources_;
  bundle::Cache& cache_;
  Network& network_;
  Workbench& bench_;
  SitePlaces places_;
  // The workbench's.
  std::unique_ptr<bundle::Staging> staging_;
  std::map<std::uint32_t, bundle::FileWriter> writers_;  // of the missing files
  std::unique_ptr<bundle::Layout> layout_;
  std::string problem_;
  base::UniqueFd out_[2];
  base::UniqueFd err_[2];
  std::unique_ptr<relay::Site> site_;
};

}  // namespace rayx::host
