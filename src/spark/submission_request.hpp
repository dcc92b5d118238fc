// What is asked of Spark: one driver, started once on some worker.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "rayx/result.hpp"

namespace rayx::spark {

struct SubmissionRequest {
  std::string app_resource = {};  // URL of a jar or file that the worker fetches and makes executable; empty: none
  std::string main_class = {};    // of Spark's own jars or of app_resource
  // "{{USER_JAR}}" and "{{WORKER_URL}}" are replaced by the worker. All users of the cluster can read these: no secrets.
  std::vector<std::string> app_args = {};
  // Of the driver's process. Seen by its user only, so that a secret belongs here and nowhere else.
  std::map<std::string, std::string> environment = {};
  // spark.driver.cores, spark.driver.memory, …: all users can read these too. spark.app.name, spark.submit.deployMode and
  // spark.driver.supervise are added where they are missing, because older masters want them.
  std::map<std::string, std::string> spark_properties = {};
  std::string client_spark_version = "4.0.0";  // no master refuses one for it; it must be there
};

// The body of POST /v1/submissions/create. Refuses what no master could take: no main class, text that is not UTF-8, more than
// kRequestBytesMax; and a value that is all "{{NAME}}", for which the master would put a variable of its own environment.
Result<std::string> to_json(const SubmissionRequest& request);

inline constexpr std::size_t kRequestBytesMax =
    8 << 20;  // masters take 100 MiB at most; an environment of a process far less

}  // namespace rayx::spark
