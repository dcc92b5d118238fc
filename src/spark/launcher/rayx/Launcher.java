package rayx;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.net.HttpURLConnection;
import java.net.InetAddress;
import java.net.URL;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.crypto.Cipher;
import javax.crypto.Mac;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/**
 * What Spark runs on a worker for one node: fetches the program from the ProgramServer of the cluster's keeper, checks it, lays it out,
 * starts it, and ends with it. Java 8, no class of Spark's. docs/design/spark.md has the protocol; src/spark/program_server.cc is
 * the other end of it.
 */
public final class Launcher {
  private static final int REFUSED = 120;
  private static final int UNREACHABLE = 121;
  private static final int UNFIT = 122;
  private static final int DAMAGED = 123;
  private static final int INTERNAL = 124;

  private static final long PATIENCE_MS = 8_000; // from SIGTERM to SIGKILL of the program
  private static final int CONNECT_TIMEOUT_MS = 5_000;
  private static final int READ_TIMEOUT_MS = 30_000;
  private static final int ATTEMPTS = 4; // of a question that may be asked twice
  private static final int DESCRIPTION_BYTES_MAX = 8 << 20;
  private static final int LAST_LINES = 100;
  private static final int LINE_BYTES_MAX = 4_096;
  private static final int PT_INTERP_OFFSET = 8; // of p_offset in a program header
  private static final int PT_INTERP_FILESZ = 32;

  /** Ends the launcher with a code of its own, and a message for the user. */
  private static final class Failure extends Exception {
    private static final long serialVersionUID = 1;
    final int code;

    Failure(int code, String message) {
      super(message);
      this.code = code;
    }
  }

  private static final class Need {
    String library;
    String version;
  }

  private static final class Fix {
    long offset;
    long value;
  }

  private static final class Item {
    int role;
    String path;
    List<String> names = new ArrayList<>();
    long bytes;
    String digest;
    List<Fix> fixes = new ArrayList<>();
    long interpreterHeader;

    boolean isLibc() {
      return role == 3 || role == 4;
    }
  }

  private static final class Description {
    List<String> arguments = new ArrayList<>();
    Map<String, String> environment = new HashMap<>();
    byte[] input;
    int cores;
    long memoryMib;
    int gpus;
    String interpreter;
    String libcVersion;
    String kernelMin;
    List<Need> needs = new ArrayList<>();
    List<Item> items = new ArrayList<>();
  }

  private final String server;
  private final byte[] token;
  private final String id;
  private final byte[] nonce = new byte[16];
  private final ArrayDeque<String> lastLines = new ArrayDeque<>();
  private volatile Process program;
  private volatile boolean isStopping;
  private volatile boolean isWorkerGone;
  private final CountDownLatch hasReported = new CountDownLatch(1);
  private Path layout;
  private FileChannel layoutLock;

  private Launcher(String server, byte[] token) throws GeneralSecurityException {
    this.server = server;
    this.token = token;
    new SecureRandom().nextBytes(nonce);
    id = hex(mac("rayx launch id")).substring(0, 32);
  }

  public static void main(String[] arguments) {
    final String server = System.getenv("RAYX_LAUNCHER_SERVER");
    final String token = System.getenv("RAYX_LAUNCHER_TOKEN");
    if (server == null || token == null || !token.matches("[0-9a-f]{64}")) {
      System.err.println(
          "rayx: this class is started by rayx::spark::setup_cluster, which gives it RAYX_LAUNCHER_SERVER and RAYX_LAUNCHER_TOKEN in its"
              + " environment; they are not there");
      System.exit(INTERNAL);
    }
    int code = INTERNAL;
    try {
      code = new Launcher(server, bytesOfHex(token)).run();
    } catch (GeneralSecurityException e) {
      System.err.println("rayx: this Java lacks HmacSHA256, SHA-256 or AES/GCM: " + e);
    }
    // Not System.exit: hooks would wait for a program that has ended.
    Runtime.getRuntime().halt(code);
  }

  private int run() throws GeneralSecurityException {
    Runtime.getRuntime().addShutdownHook(new Thread(this::stop));
    watchWorker();
    try {
      final Description wanted = fetchDescription();
      final List<String> gpus = gpusOfReservation(wanted.gpus);
      final Path cache = cacheFolder();
      final boolean isLibcBundled = isLibcOfBundleNeeded(wanted);
      final Path executable = layOut(wanted, cache, isLibcBundled);
      start(wanted, executable, gpus, isLibcBundled);
      report("started\n");
      final int code = await();
      final String why = isWorkerGone ? "Spark's worker has ended, and the node with it" : "the program ended with " + describe(code);
      report("ended " + code + "\n" + (code == 0 && !isWorkerGone ? "" : why) + "\n" + tail());
      return code;
    } catch (Failure e) {
      System.err.println("rayx: " + e.getMessage());
      report("ended " + e.code + "\n" + e.getMessage().replace('\n', ' ') + "\n" + tail());
      return e.code;
    } catch (IOException | InterruptedException | RuntimeException e) {
      e.printStackTrace();
      report("ended " + INTERNAL + "\nthe launcher failed: " + e.toString().replace('\n', ' ') + "\n" + tail());
      return INTERNAL;
    } finally {
      hasReported.countDown();
      removeLayout();
    }
  }

  /**
   * Spark's worker holds the other end of this process's input as long as it lives. When it is gone, nobody counts the cores that this
   * node has: a new worker would give them away again.
   */
  private void watchWorker() {
    try {
      if (!Files.readSymbolicLink(Paths.get("/proc/self/fd/0")).toString().startsWith("pipe:")) return;
    } catch (IOException e) {
      return; // started by something else
    }
    final Thread watcher =
        new Thread(
            () -> {
              try {
                while (System.in.read() >= 0) {
                  // Nobody says anything.
                }
              } catch (IOException e) {
                // That is an end, too.
              }
              // Not if it has asked for the end, which closes the pipe too.
              try {
                Thread.sleep(300);
              } catch (InterruptedException e) {
                return;
              }
              if (isStopping) return;
              isWorkerGone = true;
              System.exit(INTERNAL); // the hook ends the program
            });
    watcher.setDaemon(true);
    watcher.start();
  }

  private static String describe(int code) {
    return code > 128 && code < 193 ? "signal " + (code - 128) : "exit code " + code;
  }

  // ---- What the server says

  private byte[] mac(String what, byte[]... more) throws GeneralSecurityException {
    final Mac mac = Mac.getInstance("HmacSHA256");
    mac.init(new SecretKeySpec(token, "HmacSHA256"));
    mac.update(what.getBytes(StandardCharsets.UTF_8));
    for (byte[] part : more) mac.update(part);
    return mac.doFinal();
  }

  /** An answer that is not 200. */
  private static final class Refusal extends IOException {
    private static final long serialVersionUID = 1;
    final int status;

    Refusal(int status, String message) {
      super(message);
      this.status = status;
    }
  }

  private HttpURLConnection ask(String path, byte[] body, byte[] mac) throws IOException {
    final HttpURLConnection connection =
        (HttpURLConnection) new URL("http://" + server + path).openConnection(java.net.Proxy.NO_PROXY);
    connection.setConnectTimeout(CONNECT_TIMEOUT_MS);
    connection.setReadTimeout(READ_TIMEOUT_MS);
    connection.setUseCaches(false);
    connection.setInstanceFollowRedirects(false);
    connection.setRequestProperty("X-Rayx-Launch", id);
    connection.setRequestProperty("X-Rayx-Mac", hex(mac));
    if (body != null) {
      connection.setRequestMethod("POST");
      connection.setDoOutput(true);
      connection.setFixedLengthStreamingMode(body.length);
      try (OutputStream out = connection.getOutputStream()) {
        out.write(body);
      }
    }
    final int status = connection.getResponseCode();
    if (status == 200) return connection;
    String text = "";
    try (InputStream in = connection.getErrorStream()) {
      if (in != null) text = new String(readAll(in, 4_096), StandardCharsets.UTF_8).trim();
    }
    throw new Refusal(status, text);
  }

  private Description fetchDescription() throws Failure, GeneralSecurityException, InterruptedException {
    final byte[] host = hostName().getBytes(StandardCharsets.UTF_8);
    final ByteArrayOutputStream body = new ByteArrayOutputStream();
    body.write(nonce, 0, nonce.length);
    body.write(host, 0, host.length);
    IOException last = null;
    for (int attempt = 0; attempt < ATTEMPTS; ++attempt) {
      if (attempt > 0) Thread.sleep(500L << attempt);
      try (InputStream in = ask("/launch", body.toByteArray(), mac("rayx launch", body.toByteArray())).getInputStream()) {
        return decode(decrypt(readAll(in, DESCRIPTION_BYTES_MAX)));
      } catch (Refusal e) {
        throw new Failure(REFUSED, "the program server at " + server + " turned this launcher away: " + e.getMessage());
      } catch (IOException e) {
        last = e;
      }
    }
    throw new Failure(
        UNREACHABLE,
        "the program server at " + server + " cannot be reached from " + hostName() + ": " + last
            + ". Workers must be able to open connections to the machine of the program: look for a firewall, or name another of its"
            + " addresses (SparkConfig::advertise)");
  }

  private byte[] decrypt(byte[] answer) throws Failure, GeneralSecurityException {
    if (answer.length < 28) throw new Failure(DAMAGED, "what the program server at " + server + " sent is cut short");
    final Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
    final SecretKeySpec key = new SecretKeySpec(mac("rayx launch key", nonce), "AES");
    cipher.init(Cipher.DECRYPT_MODE, key, new GCMParameterSpec(128, answer, 0, 12));
    try {
      return cipher.doFinal(answer, 12, answer.length - 12);
    } catch (GeneralSecurityException e) {
      throw new Failure(
          DAMAGED,
          "what the program server at " + server + " sent is not authentic: it was changed on its way, or somebody else answers there."
              + " Nothing of it was run");
    }
  }

  private static String text(DataInputStream in) throws IOException {
    final byte[] bytes = new byte[size(in)];
    in.readFully(bytes);
    return new String(bytes, StandardCharsets.UTF_8);
  }

  private static int size(DataInputStream in) throws IOException {
    final int size = in.readInt();
    if (size < 0 || size > DESCRIPTION_BYTES_MAX) throw new IOException("a size is " + size);
    return size;
  }

  private Description decode(byte[] bytes) throws Failure {
    final Description all = new Description();
    try (DataInputStream in = new DataInputStream(new ByteArrayInputStream(bytes))) {
      if (!text(in).equals("rayx launch 1")) throw new IOException("it has another version");
      for (int i = size(in); i > 0; --i) all.arguments.add(text(in));
      for (int i = size(in); i > 0; --i) {
        final String name = text(in);
        all.environment.put(name, text(in));
      }
      all.input = new byte[size(in)];
      in.readFully(all.input);
      all.cores = in.readInt();
      all.memoryMib = in.readLong();
      all.gpus = in.readInt();
      all.interpreter = text(in);
      all.libcVersion = text(in);
      all.kernelMin = text(in);
      for (int i = size(in); i > 0; --i) {
        final Need need = new Need();
        need.library = text(in);
        need.version = text(in);
        all.needs.add(need);
      }
      for (int i = size(in); i > 0; --i) {
        final Item item = new Item();
        item.role = in.readByte();
        item.path = text(in);
        for (int n = size(in); n > 0; --n) item.names.add(text(in));
        item.bytes = in.readLong();
        item.digest = text(in);
        item.interpreterHeader = in.readLong();
        for (int n = size(in); n > 0; --n) {
          final Fix fix = new Fix();
          fix.offset = in.readLong();
          fix.value = in.readLong();
          item.fixes.add(fix);
        }
        all.items.add(item);
      }
    } catch (IOException e) {
      throw new Failure(DAMAGED, "the program server and the launcher are of different builds: " + e.getMessage());
    }
    return all;
  }

  // ---- The C library

  /** The rule of src/bundle: the host's, if its files define every version that the program's files name; else the bundle's. */
  private static boolean isLibcOfBundleNeeded(Description wanted) throws Failure, IOException {
    if (wanted.interpreter.isEmpty()) return false; // a static program
    String missing = null;
    final Map<String, byte[]> files = new HashMap<>();
    for (Need need : wanted.needs) {
      if (!files.containsKey(need.library)) files.put(need.library, readHostLibrary(need.library, wanted.interpreter));
      final byte[] content = files.get(need.library);
      if (content == null || indexOf(content, ('\0' + need.version + '\0').getBytes(StandardCharsets.US_ASCII), 0) < 0) {
        missing = need.version + " of " + need.library;
        break;
      }
    }
    if (missing == null && Files.exists(Paths.get(wanted.interpreter))) return false;
    if (missing == null) missing = wanted.interpreter;
    final String host = hostLibcVersion(wanted.interpreter);
    final String hosts = host.isEmpty() ? "this host has none that could be found" : "this host has glibc " + host;
    if (wanted.libcVersion.isEmpty())
      throw new Failure(
          UNFIT,
          "the program needs " + missing + ", " + hosts + ", and the program came without a C library of its own. Build it on a system as old"
              + " as the workers', or link it dynamically so that its C library can come with it");
    final String kernel = System.getProperty("os.version");
    if (!wanted.kernelMin.isEmpty() && isOlder(kernel, wanted.kernelMin))
      throw new Failure(
          UNFIT,
          "the program needs " + missing + ", " + hosts + ", and the glibc " + wanted.libcVersion + " that came with it needs Linux "
              + wanted.kernelMin + ", but this host runs " + kernel + ". Build the program on an older system");
    return true;
  }

  private static byte[] readHostLibrary(String library, String interpreter) throws IOException {
    final List<Path> places = new ArrayList<>();
    final Path loader = Paths.get(interpreter);
    if (Files.exists(loader)) places.add(loader.toRealPath().getParent());
    for (String folder : new String[] {"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"})
      places.add(Paths.get(folder));
    for (Path place : places)
      if (Files.isRegularFile(place.resolve(library))) return Files.readAllBytes(place.resolve(library));
    return null;
  }

  private static String hostLibcVersion(String interpreter) throws IOException {
    final byte[] libc = readHostLibrary("libc.so.6", interpreter);
    if (libc == null) return "";
    final Matcher matcher =
        Pattern.compile("GNU C Library [^\\n]{0,80}version ([0-9]+\\.[0-9]+)").matcher(new String(libc, StandardCharsets.ISO_8859_1));
    return matcher.find() ? matcher.group(1) : "";
  }

  private static boolean isOlder(String kernel, String than) {
    final String[] a = kernel.split("[^0-9]+");
    final String[] b = than.split("[^0-9]+");
    for (int i = 0; i < b.length; ++i) {
      final int left = i < a.length && !a[i].isEmpty() ? Integer.parseInt(a[i]) : 0;
      if (left != Integer.parseInt(b[i])) return left < Integer.parseInt(b[i]);
    }
    return false;
  }

  // ---- Files

  /** Belongs to this user, is nobody else's to write, and lets programs run. */
  private static Path cacheFolder() throws Failure {
    final String asked = System.getenv("RAYX_LAUNCHER_CACHE");
    String user = "user";
    Path folder = null;
    try {
      user = String.valueOf(Files.getAttribute(Paths.get("/proc/self"), "unix:uid"));
      folder = asked != null && !asked.isEmpty() ? Paths.get(asked) : Paths.get(System.getProperty("java.io.tmpdir"), "rayx-launcher-" + user);
      if (!Files.exists(folder, LinkOption.NOFOLLOW_LINKS)) {
        Files.createDirectories(folder.toAbsolutePath().getParent());
        try {
          Files.createDirectory(folder, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
        } catch (FileAlreadyExistsException e) {
          // Another launcher was faster.
        }
      }
      final boolean isMine = String.valueOf(Files.getAttribute(folder, "unix:uid", LinkOption.NOFOLLOW_LINKS)).equals(user);
      final String rights = PosixFilePermissions.toString(Files.getPosixFilePermissions(folder, LinkOption.NOFOLLOW_LINKS));
      if (Files.isSymbolicLink(folder) || !isMine || rights.charAt(4) == 'w' || rights.charAt(7) == 'w')
        throw new Failure(
            UNFIT,
            "the folder " + folder + " for programs is a link, belongs to somebody else, or others may write into it (" + rights
                + "). Remove it, or name another one in RAYX_LAUNCHER_CACHE (SparkConfig::temp_directory)");
      for (String name : new String[] {"files", "run"}) Files.createDirectories(folder.resolve(name));
      return folder.toRealPath();
    } catch (IOException | UnsupportedOperationException e) {
      throw new Failure(UNFIT, "the folder " + folder + " for programs cannot be made: " + e + ". Name another one in RAYX_LAUNCHER_CACHE"
          + " (SparkConfig::temp_directory)");
    }
  }

  private static String digestOf(Path file) throws IOException, GeneralSecurityException {
    final MessageDigest digest = MessageDigest.getInstance("SHA-256");
    final byte[] piece = new byte[1 << 16];
    try (InputStream in = new FileInputStream(file.toFile())) {
      for (int n = in.read(piece); n >= 0; n = in.read(piece)) digest.update(piece, 0, n);
    }
    return hex(digest.digest());
  }

  /** The file in the cache, with the right content. */
  private Path fetch(Item item, Path cache) throws Failure, IOException, GeneralSecurityException, InterruptedException {
    final Path kept = cache.resolve("files").resolve(item.digest);
    if (Files.isRegularFile(kept, LinkOption.NOFOLLOW_LINKS)) {
      if (digestOf(kept).equals(item.digest)) return kept;
      System.err.println("rayx: " + kept + " was damaged; it is fetched anew");
      Files.deleteIfExists(kept);
    }
    final Path part = Files.createTempFile(cache.resolve("files"), item.digest.substring(0, 16) + "-", ".part");
    try {
      IOException last = null;
      for (int attempt = 0; attempt < ATTEMPTS; ++attempt) {
        if (attempt > 0) Thread.sleep(500L << attempt);
        try {
          fetchOnce(item, part);
          final String found = digestOf(part);
          if (!found.equals(item.digest))
            throw new Failure(
                DAMAGED,
                "the file " + item.path + " that the program server at " + server + " sent has the SHA-256 " + found + " and must have "
                    + item.digest + ". Nothing of it was run");
          Files.setPosixFilePermissions(part, PosixFilePermissions.fromString("r-x------"));
          Files.move(part, kept, StandardCopyOption.ATOMIC_MOVE);
          return kept;
        } catch (Refusal e) {
          throw new Failure(REFUSED, "the program server at " + server + " does not give the file " + item.path + ": " + e.getMessage());
        } catch (IOException e) {
          last = e;
          if (cache.toFile().getUsableSpace() < item.bytes) break;
        }
      }
      if (cache.toFile().getUsableSpace() < item.bytes)
        throw new Failure(
            UNFIT,
            "the disk of " + cache + " is full: the program's file " + item.path + " has " + item.bytes + " bytes, and "
                + cache.toFile().getUsableSpace() + " are free. Make room there, or name another folder in RAYX_LAUNCHER_CACHE"
                + " (SparkConfig::temp_directory)");
      throw new Failure(UNREACHABLE, "fetching the program's file " + item.path + " from " + server + " failed: " + last);
    } finally {
      Files.deleteIfExists(part);
    }
  }

  private void fetchOnce(Item item, Path into) throws IOException, GeneralSecurityException {
    final String path = "/file/" + item.digest;
    long got = 0;
    try (InputStream in = ask(path, null, mac("rayx file", nonce, item.digest.getBytes(StandardCharsets.US_ASCII))).getInputStream();
        OutputStream out = Files.newOutputStream(into)) {
      final byte[] piece = new byte[1 << 16];
      for (int n = in.read(piece); n >= 0 && got <= item.bytes; n = in.read(piece)) {
        out.write(piece, 0, n);
        got += n;
      }
    }
    if (got != item.bytes) throw new IOException("it ended after " + got + " of " + item.bytes + " bytes");
  }

  /** As src/bundle/layout.cc: root/ has each file where it lay at home, lib/ and libc/ by the names that the loader asks for. */
  private Path layOut(Description wanted, Path cache, boolean isLibcBundled)
      throws Failure, IOException, GeneralSecurityException, InterruptedException {
    sweep(cache.resolve("run"));
    layout = Files.createTempDirectory(cache.resolve("run"), "node-");
    layoutLock = FileChannel.open(layout.resolveSibling(layout.getFileName() + ".lock"), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
    layoutLock.lock();
    for (String name : new String[] {"lib", "libc", "root"}) Files.createDirectory(layout.resolve(name));
    String loader = "";
    for (Item item : wanted.items) if (item.role == 3) loader = layout.resolve("libc").resolve(item.names.get(0)).toString();
    Path executable = null;
    for (Item item : wanted.items) {
      if (item.role == 5 || item.isLibc() && !isLibcBundled) continue;
      final Path kept = fetch(item, cache);
      final Path placed = item.isLibc() ? layout.resolve("libc").resolve(item.names.get(0)) : layout.resolve("root" + item.path).normalize();
      if (!placed.startsWith(layout)) throw new Failure(DAMAGED, "a file of the program has the path " + item.path);
      Files.createDirectories(placed.getParent());
      if (item.role == 1 && isLibcBundled) {
        final byte[] name = (loader + '\0').getBytes(StandardCharsets.UTF_8);
        copyFixed(kept, placed, item, name);
      } else if (!item.fixes.isEmpty()) {
        copyFixed(kept, placed, item, null);
      } else {
        linkOrCopy(kept, placed);
      }
      if (item.role == 1) executable = placed;
      for (int i = item.isLibc() ? 1 : 0; i < item.names.size(); ++i) {
        final Path named = layout.resolve(item.isLibc() ? "libc" : "lib").resolve(item.names.get(i));
        if (!named.getParent().getParent().equals(layout)) throw new Failure(DAMAGED, "a file of the program has the name " + item.names.get(i));
        linkOrCopy(placed, named);
      }
    }
    if (executable == null) throw new Failure(DAMAGED, "the program's list of files has no executable");
    return executable;
  }

  private static void linkOrCopy(Path from, Path to) throws IOException {
    try {
      Files.createLink(to, from);
    } catch (FileAlreadyExistsException e) {
      throw e;
    } catch (IOException | UnsupportedOperationException e) {
      Files.copy(from, to, StandardCopyOption.COPY_ATTRIBUTES);
    }
  }

  private static void copyFixed(Path from, Path to, Item item, byte[] loader) throws IOException {
    Files.copy(from, to);
    Files.setPosixFilePermissions(to, PosixFilePermissions.fromString("rwx------"));
    try (RandomAccessFile file = new RandomAccessFile(to.toFile(), "rw")) {
      for (Fix fix : item.fixes) word(file, fix.offset, fix.value);
      if (loader == null) return;
      word(file, item.interpreterHeader + PT_INTERP_OFFSET, item.bytes);
      word(file, item.interpreterHeader + PT_INTERP_FILESZ, loader.length);
      file.seek(item.bytes);
      file.write(loader);
    }
  }

  private static void word(RandomAccessFile file, long offset, long value) throws IOException {
    file.seek(offset);
    file.write(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(value).array());
  }

  /** What killed launchers have left: their locks are free. */
  private static void sweep(Path run) throws IOException {
    final List<Path> locks = new ArrayList<>();
    try (Stream<Path> all = Files.list(run)) {
      all.filter(it -> it.toString().endsWith(".lock")).forEach(locks::add);
    }
    for (Path path : locks) {
      try (FileChannel channel = FileChannel.open(path, StandardOpenOption.WRITE)) {
        final FileLock lock = channel.tryLock();
        if (lock == null) continue;
        remove(new File(path.toString().substring(0, path.toString().length() - 5)));
        Files.deleteIfExists(path);
      } catch (IOException e) {
        // Another launcher sweeps it.
      }
    }
  }

  private static void remove(File folder) {
    final File[] inside = Files.isSymbolicLink(folder.toPath()) ? null : folder.listFiles();
    if (inside != null) for (File each : inside) remove(each);
    folder.delete();
  }

  private void removeLayout() {
    if (layout == null) return;
    remove(layout.toFile());
    new File(layout + ".lock").delete();
  }

  // ---- The program

  /** Of resource-driver-….json, which Spark's worker writes into the working folder. */
  private static List<String> gpusOfReservation(int wanted) throws Failure, IOException {
    final List<String> found = new ArrayList<>();
    final File[] files = new File(".").listFiles((folder, name) -> name.startsWith("resource-driver-") && name.endsWith(".json"));
    final Pattern pattern = Pattern.compile("\"resourceName\"\\s*:\\s*\"gpu\".{0,200}?\"addresses\"\\s*:\\s*\\[([^\\]]*)\\]", Pattern.DOTALL);
    for (File file : files == null ? new File[0] : files) {
      final Matcher matcher = pattern.matcher(new String(Files.readAllBytes(file.toPath()), StandardCharsets.UTF_8));
      while (matcher.find())
        for (String address : matcher.group(1).split(","))
          if (!address.trim().isEmpty()) found.add(address.trim().replace("\"", ""));
    }
    if (found.size() < wanted)
      throw new Failure(UNFIT, "the node is to have " + wanted + " GPUs, and Spark's worker reserved " + found.size()
          + ". The operator must set spark.worker.resource.gpu.amount and a discovery script on the workers");
    return found;
  }

  private void start(Description wanted, Path executable, List<String> gpus, boolean isLibcBundled) throws Failure, IOException {
    final List<String> command = new ArrayList<>();
    command.add(executable.toString());
    command.addAll(wanted.arguments);
    final ProcessBuilder builder = new ProcessBuilder(command);
    final Map<String, String> environment = builder.environment();
    for (String name : new String[] {"RAYX_LAUNCHER_TOKEN", "RAYX_LAUNCHER_SERVER", "_SPARK_AUTH_SECRET"}) environment.remove(name);
    final String libraries = layout.resolve("lib") + (isLibcBundled ? ":" + layout.resolve("libc") : "");
    final String users = wanted.environment.containsKey("LD_LIBRARY_PATH") ? wanted.environment.get("LD_LIBRARY_PATH") : environment.get("LD_LIBRARY_PATH");
    environment.putAll(wanted.environment);
    environment.put("LD_LIBRARY_PATH", users == null || users.isEmpty() ? libraries : libraries + ":" + users);
    environment.put("RAYX_INTERNAL_LIBRARY_PATH", libraries);
    environment.put("RAYX_LAUNCHER_PIPE", "stdin");
    environment.put("RAYX_LAUNCHER_CORES", String.valueOf(wanted.cores));
    environment.put("RAYX_LAUNCHER_MEMORY_MIB", String.valueOf(wanted.memoryMib));
    if (!wanted.environment.containsKey("CUDA_VISIBLE_DEVICES")) environment.put("CUDA_VISIBLE_DEVICES", String.join(",", gpus));
    builder.redirectErrorStream(true);
    synchronized (this) {
      if (isStopping) throw new Failure(128 + 15, "the launcher was asked to end before the program had begun");
      try {
        program = builder.start();
      } catch (IOException e) {
        throw new Failure(
            UNFIT,
            "the program cannot be started from " + executable + ": " + e.getMessage() + ". If its folder is mounted noexec, name another one"
                + " in RAYX_LAUNCHER_CACHE (SparkConfig::temp_directory)");
      }
    }
    final OutputStream input = program.getOutputStream(); // stays open until this process ends
    input.write(wanted.input);
    input.flush();
  }

  /** Copies what it prints until its end. */
  private int await() throws IOException, InterruptedException {
    final Thread copier = new Thread(this::copyOutput);
    copier.setDaemon(true);
    copier.start();
    System.gc(); // from here on it waits
    final int code = program.waitFor();
    copier.join(1_000); // a child of the program's may hold its output
    return code;
  }

  private void copyOutput() {
    final byte[] piece = new byte[1 << 14];
    final ByteArrayOutputStream line = new ByteArrayOutputStream();
    try (InputStream in = program.getInputStream()) {
      for (int n = in.read(piece); n >= 0; n = in.read(piece)) {
        System.out.write(piece, 0, n);
        System.out.flush();
        for (int i = 0; i < n; ++i) {
          if (piece[i] == '\n' || line.size() >= LINE_BYTES_MAX) keep(line);
          if (piece[i] != '\n') line.write(piece[i]);
        }
      }
    } catch (IOException e) {
      // The program has ended.
    }
    if (line.size() > 0) keep(line);
  }

  private void keep(ByteArrayOutputStream line) {
    synchronized (lastLines) {
      if (lastLines.size() == LAST_LINES) lastLines.removeFirst();
      lastLines.addLast(new String(line.toByteArray(), StandardCharsets.ISO_8859_1));
    }
    line.reset();
  }

  private String tail() {
    synchronized (lastLines) {
      return String.join("\n", lastLines);
    }
  }

  /** SIGTERM. Not by destroy(), which closes the program's output at once: what it says at its end would be lost. */
  private static void terminate(Process running) throws InterruptedException {
    try {
      if (new ProcessBuilder("/bin/sh", "-c", "kill -TERM " + pidOf(running)).start().waitFor() == 0) return;
    } catch (IOException | ReflectiveOperationException e) {
      // Then without its last words.
    }
    running.destroy();
  }

  private static long pidOf(Process running) throws ReflectiveOperationException {
    try {
      return (Long) Process.class.getMethod("pid").invoke(running);
    } catch (NoSuchMethodException e) { // Java 8
      final java.lang.reflect.Field pid = running.getClass().getDeclaredField("pid");
      pid.setAccessible(true);
      return pid.getInt(running);
    }
  }

  /** Of the JVM: SIGTERM, which Spark sends when the submission is killed. */
  private void stop() {
    final Process running;
    synchronized (this) {
      isStopping = true;
      running = program;
    }
    try {
      if (running != null && running.isAlive()) {
        terminate(running);
        if (!running.waitFor(PATIENCE_MS, TimeUnit.MILLISECONDS)) running.destroyForcibly();
        running.waitFor(1, TimeUnit.SECONDS);
        removeLayout();
        hasReported.await(5, TimeUnit.SECONDS); // by the thread that waits for the program
      }
    } catch (InterruptedException e) {
      running.destroyForcibly();
    }
    removeLayout();
  }

  // ---- Reports

  private void report(String text) {
    try {
      final byte[] body = text.getBytes(StandardCharsets.ISO_8859_1);
      ask("/report", body, mac("rayx report", nonce, body)).getInputStream().close();
    } catch (IOException | GeneralSecurityException e) {
      // It is in stderr, too, and nobody may be there any more.
    }
  }

  // ---- Small things

  private static String hostName() {
    try {
      return InetAddress.getLocalHost().getHostName();
    } catch (IOException e) {
      return "a host without a name";
    }
  }

  private static byte[] readAll(InputStream in, int max) throws IOException {
    final ByteArrayOutputStream all = new ByteArrayOutputStream();
    final byte[] piece = new byte[1 << 13];
    for (int n = in.read(piece); n >= 0; n = in.read(piece)) {
      all.write(piece, 0, n);
      if (all.size() > max) throw new IOException("more than " + max + " bytes");
    }
    return all.toByteArray();
  }

  private static int indexOf(byte[] all, byte[] wanted, int from) {
    outer:
    for (int i = from; i + wanted.length <= all.length; ++i) {
      for (int k = 0; k < wanted.length; ++k) if (all[i + k] != wanted[k]) continue outer;
      return i;
    }
    return -1;
  }

  private static String hex(byte[] bytes) {
    final StringBuilder text = new StringBuilder();
    for (byte each : bytes) text.append(Character.forDigit(each >> 4 & 15, 16)).append(Character.forDigit(each & 15, 16));
    return text.toString();
  }

  private static byte[] bytesOfHex(String text) {
    final byte[] bytes = new byte[text.length() / 2];
    for (int i = 0; i < bytes.length; ++i) bytes[i] = (byte) Integer.parseInt(text.substring(2 * i, 2 * i + 2), 16);
    return bytes;
  }
}
