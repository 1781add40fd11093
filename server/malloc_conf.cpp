// What kvd wants of jemalloc, which looks for this name. The environment's MALLOC_CONF beats it.
//
// Memory that was freed goes back to the system within seconds, also when nobody allocates, and not on the thread
// that answers clients. Not huge pages (thp:always): a start is twice as fast with them, but while a snapshot is
// taken the kernel stops the program for tenths of a second to make room for them.
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "background_thread:true,dirty_decay_ms:2000";
}
