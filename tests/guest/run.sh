#!/usr/bin/env bash
# Runs test programs in a machine of its own, whose cgroups are version 2 only and whose kernel is Debian's.
#
#   tests/guest/run.sh PROGRAM[:FILTER,FILTER...] ...
#
# The machine is emulated (qemu without KVM, which works everywhere). Its disk is an initramfs with the programs, the libraries that they
# need and the commands that the tests use, all of this machine; its kernel is extracted from a Debian package that is not installed. What
# the programs print is printed; the last line says whether all of them ended well.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=target/guest
mkdir -p "$work"

# --- the kernel ---------------------------------------------------------------------------------------------------------
package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-.*-cloud-amd64\)$/\1/p')
[ -n "$package" ] || { echo "no package of a kernel is known: apt-get update?" >&2; exit 1; }
if [ ! -e "$work/kernel/$package" ]; then
  rm -rf "$work/kernel"
  mkdir -p "$work/kernel"
  (cd "$work/kernel" && apt-get download -q "$package" 2>/dev/null && dpkg-deb -x "$package"_*.deb . && rm -f ./*.deb && : >"$package")
fi
release=${package#linux-image-}

# --- the disk -----------------------------------------------------------------------------------------------------------
disk=$work/disk
rm -rf "$disk"
mkdir -p "$disk"/{bin,sbin,usr/bin,lib,lib64,etc,proc,sys,dev,tmp,run,root,mnt,var/tmp,tests}
chmod 1777 "$disk/tmp" "$disk/var/tmp"
printf 'root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' >"$disk/etc/passwd"
printf 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n' >"$disk/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files\n' >"$disk/etc/nsswitch.conf"
printf '127.0.0.1 localhost guest\n::1 localhost\n' >"$disk/etc/hosts"
: >"$disk/etc/resolv.conf"

# A program, and the libraries that it is linked to, at their places.
put() {
  local library
  cp -L "$1" "$disk$2"
  for library in $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*'); do
    [ -e "$disk$library" ] || { mkdir -p "$disk${library%/*}" && cp -L "$library" "$disk$library"; }
  done
}
commands=(sh cat echo id ls head tail seq sort sleep tr wc yes true false touch mkdir mv rm dd stat readlink grep hostname mount umount
  unshare setsid ps kill perl env printf test pwd date nice uniq cut base64 mknod chmod ln losetup)
for command in "${commands[@]}"; do put "$(type -P "$command")" "/usr/bin/$command"; done
ln -sf /usr/bin/sh "$disk/bin/sh"
for command in "${commands[@]}"; do [ -e "$disk/bin/$command" ] || ln -s "/usr/bin/$command" "$disk/bin/$command"; done
put /bin/busybox /bin/busybox
cp /bin/busybox "$disk/busybox"
# What names of users are looked up with, and perl's modules.
for library in /lib/x86_64-linux-gnu/libnss_files.so.2 /usr/lib/x86_64-linux-gnu/perl-base; do
  [ -e "$library" ] && mkdir -p "$disk${library%/*}" && cp -rL "$library" "$disk$library"
done
cp "$work/kernel/lib/modules/$release/kernel/"{fs/overlayfs/overlay,drivers/block/loop}.ko "$disk/"

runs=''
for program in "$@"; do
  file=${program%%:*}
  name=$(basename "$file")
  filters=''
  [ "$file" = "$program" ] || filters=$(tr , ' ' <<<"${program#*:}")
  put "$file" "/tests/$name"
  strip --strip-debug "$disk/tests/$name" 2>/dev/null || true
  runs+="echo \"== $name\"; /tests/$name --test-threads=2 $filters || bad=1"$'\n'
done

# An initramfs cannot be left by pivot_root, which containers use: everything moves to a file system that can.
cat >"$disk/init" <<'INIT'
#!/busybox sh
/busybox mkdir -p /new
/busybox mount -t tmpfs -o mode=755,size=80% none /new
for entry in bin sbin usr lib lib64 etc tmp var run root mnt tests overlay.ko loop.ko start; do
  /busybox mv "/$entry" /new/
done
/busybox mkdir -p /new/proc /new/sys /new/dev
exec /busybox switch_root /new /bin/busybox sh /start
INIT
cat >"$disk/start" <<START
export PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/root TMPDIR=/tmp
b() { /bin/busybox "\$@"; }
b mount -t proc proc /proc
b mount -t sysfs sysfs /sys
b mount -t devtmpfs devtmpfs /dev
b mkdir -p /dev/pts /dev/shm
b mount -t devpts devpts /dev/pts
b mount -t tmpfs tmpfs /dev/shm
b mount -t cgroup2 cgroup2 /sys/fs/cgroup
b mount -t tmpfs -o mode=1777 tmpfs /tmp
b ip link set lo up
b hostname guest
b insmod /overlay.ko
b insmod /loop.ko
echo "== cgroup controllers: \$(cat /sys/fs/cgroup/cgroup.controllers)"
cd /tmp
bad=0
$runs
echo "== guest: end \$bad"
b sync
b poweroff -f
START
chmod +x "$disk/init"
(cd "$disk" && find . | /bin/busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initramfs"

# --- the machine --------------------------------------------------------------------------------------------------------
output=$work/output
timeout "${TEPUI_GUEST_TIMEOUT:-1800}" qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m 2048 -nographic -no-reboot \
  -nic none -kernel "$work/kernel/boot/vmlinuz-$release" -initrd "$work/initramfs" \
  -append 'console=ttyS0 quiet panic=-1 systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all mitigations=off random.trust_cpu=on' \
  </dev/null | tr -d '\r' | tee "$output" || true
grep -q '^== guest: end 0$' "$output" || { echo "the guest did not end well; what it said is in $output" >&2; exit 1; }
