/* The CPU quota that a container or a service manager has set, in whole CPUs. */
#ifndef BNF_CGROUP_H
#define BNF_CGROUP_H

/* CPUs that the cgroups listed in `proc_file` ("/proc/self/cgroup") and all their parents allow, rounded up; 0: no limit
 * is set or can be read. `mount` is where the cgroup file systems are ("/sys/fs/cgroup"). Allocates nothing, sets no error. */
int bnf_cgroup_cpus(const char *proc_file, const char *mount);

#endif
