// Open MPI beside us: two processes over shared memory. A message there and one back is the nearest to a task of one call;
// a large message into a buffer that is there is the nearest to a put. MPI has no tasks, no store and no retries.
#define OMPI_SKIP_MPICXX 1  // its C++ bindings of MPI-2 do not compile without warnings
#include <mpi.h>

#include <cstdint>

#include "../kit.hpp"

namespace {

constexpr int kTag = 1;
constexpr std::size_t kBulk = (std::size_t{100} << 20) / sizeof(double);
constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

// Rank 0 sends a number, rank 1 answers with the next one.
double round_trip_us(int rank) {
  constexpr std::uint64_t kTrips = 100'000;
  std::uint64_t sum = 0;
  MPI_Barrier(MPI_COMM_WORLD);
  const double seconds = bench::seconds_of([&] {
    for (std::uint64_t i = 0; i < kTrips; ++i) {
      std::uint64_t value = i;
      if (rank == 0) {
        MPI_Send(&value, 1, MPI_UINT64_T, 1, kTag, MPI_COMM_WORLD);
        MPI_Recv(&value, 1, MPI_UINT64_T, 1, kTag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        sum += value;
      } else {
        MPI_Recv(&value, 1, MPI_UINT64_T, 0, kTag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        ++value;
        MPI_Send(&value, 1, MPI_UINT64_T, 0, kTag, MPI_COMM_WORLD);
      }
    }
  });
  bench::check(rank != 0 || sum == kTrips * (kTrips + 1) / 2, "wrong results of task_sync");
  return seconds / kTrips * 1e6;
}

double bulk_gib_s(int rank, std::vector<double>& values) {
  int answer = 0;
  MPI_Barrier(MPI_COMM_WORLD);
  const double seconds = bench::seconds_of([&] {
    if (rank == 0) {
      MPI_Send(values.data(), static_cast<int>(kBulk), MPI_DOUBLE, 1, kTag, MPI_COMM_WORLD);
      MPI_Recv(&answer, 1, MPI_INT, 1, kTag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else {
      MPI_Recv(values.data(), static_cast<int>(kBulk), MPI_DOUBLE, 0, kTag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      answer = values.front() == 1.5 && values.back() == 1.5 ? 1 : 0;
      MPI_Send(&answer, 1, MPI_INT, 0, kTag, MPI_COMM_WORLD);
    }
  });
  bench::check(rank != 0 || answer == 1, "wrong bytes of put_100MiB");
  return kBulk * sizeof(double) / kGiB / seconds;
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0;
  int size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  bench::check(size == 2, "start this with mpirun -n 2");
  round_trip_us(rank);
  const double trip_us = bench::median_of(5, [&] { return round_trip_us(rank); });
  std::vector<double> values(kBulk, rank == 0 ? 1.5 : 0.0);
  bulk_gib_s(rank, values);
  const double gib_s = bench::median_of(5, [&] { return bulk_gib_s(rank, values); });
  if (rank == 0) {
    bench::report("task_sync", "us", trip_us);
    bench::report("put_100MiB", "GiB/s", gib_s);
  }
  MPI_Finalize();
  return 0;
}
