// Answers of Spark's servers: recorded from 4.3.0 (two masters with ZooKeeper, JWSFilter) and 3.5.9, with other ids and addresses and without
// most of the stacks. kNoJar and kOtherProtocol are made after them: no master here has an allow-list or another protocol.
#pragma once

#include <string>
#include <string_view>

namespace rayx::spark::test {

inline const std::string kId = "driver-20261128120000-0001";

inline constexpr std::string_view kCreated = R"({
  "action" : "CreateSubmissionResponse",
  "message" : "Driver successfully submitted as driver-20261128120000-0001",
  "serverSparkVersion" : "4.3.0",
  "submissionId" : "driver-20261128120000-0001",
  "success" : true
})";
inline constexpr std::string_view kStandby = R"({
  "action" : "CreateSubmissionResponse",
  "message" : "Current state is not alive: STANDBY. Can only accept driver submissions in ALIVE state.",
  "serverSparkVersion" : "4.3.0",
  "success" : false
})";
// A standby's answer to a question about a driver comes as the text of an exception.
inline constexpr std::string_view kStatusStandby = R"({
  "action" : "SubmissionStatusResponse",
  "message" : "Exception from the cluster:\njava.lang.Exception: Current state is not alive: STANDBY. Can only request driver status in ALIVE state.\n\torg.apache.spark.deploy.master.Master",
  "serverSparkVersion" : "3.5.1",
  "submissionId" : "driver-20261128120000-0001",
  "success" : false
})";
inline constexpr std::string_view kRunning = R"({
  "action" : "SubmissionStatusResponse",
  "driverState" : "RUNNING",
  "serverSparkVersion" : "3.3.2",
  "submissionId" : "driver-20261128120000-0001",
  "success" : true,
  "workerHostPort" : "10.0.0.8:34567",
  "workerId" : "worker-20261128115900-10.0.0.8-34567"
})";
inline constexpr std::string_view kStatusUnknown = R"({
  "action" : "SubmissionStatusResponse",
  "serverSparkVersion" : "4.3.0",
  "submissionId" : "driver-20261128120000-0001",
  "success" : false
})";
inline constexpr std::string_view kKilled = R"({
  "action" : "KillSubmissionResponse",
  "message" : "Kill request for driver-20261128120000-0001 submitted",
  "serverSparkVersion" : "4.3.0",
  "submissionId" : "driver-20261128120000-0001",
  "success" : true
})";
inline constexpr std::string_view kKillGone = R"({
  "action" : "KillSubmissionResponse",
  "message" : "Driver driver-20261128120000-0001 has already finished or does not exist",
  "serverSparkVersion" : "4.3.0",
  "submissionId" : "driver-20261128120000-0001",
  "success" : false
})";
inline constexpr std::string_view kReady = R"({
  "action" : "ReadyzResponse", "message" : "", "serverSparkVersion" : "4.3.0", "success" : true })";
inline constexpr std::string_view kNotReady = R"({
  "action" : "ErrorResponse", "message" : "Master is not ready.", "serverSparkVersion" : "4.3.0" })";
// Spark 3.5, to an action that it does not know.
inline constexpr std::string_view kActions = R"({
  "action" : "ErrorResponse",
  "message" : "Missing an action: please specify one of /create, /kill, or /status. Please submit requests through http://[host]:[port]/v1/submissions/...",
  "serverSparkVersion" : "3.5.1"
})";
inline constexpr std::string_view kOtherProtocol = R"({
  "action" : "ErrorResponse",
  "highestProtocolVersion" : "v2",
  "message" : "Unknown protocol version 'v1'. Please submit requests through http://[host]:[port]/v2/submissions/...",
  "serverSparkVersion" : "9.0.0"
})";
// A property that is no number.
inline constexpr std::string_view kUnreadable = R"({
  "action" : "ErrorResponse",
  "message" : "Malformed request: org.apache.spark.deploy.rest.SubmitRestProtocolException: Validation of message CreateSubmissionRequest failed!\n\torg.apache.spark.deploy.rest.SubmitRestProtocolMessage.validate(SubmitRestProtocolMessage.scala:70)\n\torg.apache.spark.deploy.rest.SubmitRequestServlet",
  "serverSparkVersion" : "4.3.0"
})";
inline constexpr std::string_view kNoJar = R"({
  "action" : "ErrorResponse",
  "message" : "Malformed request: org.apache.spark.deploy.rest.SubmitRestProtocolException: Valid application jar path is required.",
  "serverSparkVersion" : "4.3.0"
})";
// Jetty's, of a filter that refuses.
inline constexpr std::string_view kForbidden = R"(<html>
<head><meta http-equiv="Content-Type" content="text/html;charset=ISO-8859-1"/><title>Error 403 Authorization header is missing.</title></head>
<body><h2>HTTP ERROR 403 Authorization header is missing.</h2><table></table></body></html>)";

inline constexpr std::string_view kWorkers = R"({
  "url" : "spark://10.0.0.7:7077",
  "workers" : [ {
    "id" : "worker-1", "host" : "10.0.0.8", "port" : 34567, "webuiaddress" : "http://10.0.0.8:8081",
    "cores" : 8, "coresused" : 3, "coresfree" : 5, "memory" : 16384, "memoryused" : 1024, "memoryfree" : 15360,
    "resources" : { }, "resourcesused" : { }, "resourcesfree" : { }, "state" : "ALIVE", "lastheartbeat" : 1764331200000
  }, {
    "id" : "worker-2", "host" : "10.0.0.9", "port" : 34568, "webuiaddress" : "http://10.0.0.9:8081",
    "cores" : 4, "coresused" : 0, "coresfree" : 4, "memory" : 8192, "memoryused" : 0, "memoryfree" : 8192,
    "resources" : { }, "resourcesused" : { }, "resourcesfree" : { }, "state" : "DEAD", "lastheartbeat" : 1764331100000
  } ],
  "aliveworkers" : 1, "cores" : 8, "coresused" : 3, "memory" : 16384, "memoryused" : 1024,
  "activeapps" : [ ], "completedapps" : [ ], "activedrivers" : [ ], "completeddrivers" : [ ], "status" : "ALIVE"
})";

}  // namespace rayx::spark::test
