#!/bin/busybox ash
# Is process 1 of the virtual machine: mounts the image as ya-runtime-vm's init does, and runs programs in it.
#
# The host and this script talk through a folder that they share, /control: the host writes `program-N`, a script that
# executes a program, and this script writes its output and, when it has ended, `status-N`: exit status, least memory
# available meanwhile, memory of the machine (both in KiB), and KiB that are written to the root.
set -f
export PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do
    insmod "/modules/$module" || echo "nima-golem: the module $module could not be loaded"
done < /modules/order

share() { mount -t 9p -o trans=virtio,version=9p2000.L,msize=104857600 "$1" "$2"; }
share control /control || { echo "nima-golem: the kernel has no 9p over virtio"; poweroff -f; }
fail() {
    echo "$1" > /control/failed
    poweroff -f
}

root=/root
mount -t squashfs -o ro /dev/vda /image || fail "the kernel cannot mount the image's squashfs from a virtio disk"
mount -t tmpfs -o mode=0700,size=128M overlay /overlay
mkdir /overlay/upper /overlay/work
chmod 755 /overlay/upper
mount -t overlay -o lowerdir=/image,upperdir=/overlay/upper,workdir=/overlay/work overlay $root ||
    fail "the kernel has no overlay file system"
for folder in proc sys; do
    [ -d $root/$folder ] || fail "the image has no folder /$folder"
done
mkdir -p $root/dev $root/tmp
mount -t proc -o nodev,nosuid,noexec proc $root/proc
mount -t sysfs -o nodev,nosuid,noexec sys $root/sys
mount -t devtmpfs -o nosuid,mode=0755,size=2M dev $root/dev
mount -t tmpfs -o nosuid,mode=0777 tmp $root/tmp
mkdir -p $root/dev/pts $root/dev/shm
mount -t devpts -o nosuid,noexec pts $root/dev/pts
mount -t tmpfs -o nodev,nosuid,noexec shm $root/dev/shm
[ -e $root/dev/fd ] || ln -s /proc/self/fd $root/dev/fd
ip link set lo up
ip addr add 127.0.0.1/24 dev lo 2>/dev/null
hostname golem
echo "127.0.0.1 localhost" > $root/etc/hosts
printf 'nameserver 1.1.1.1\nnameserver 8.8.8.8\n' > $root/etc/resolv.conf
while read -r tag path; do
    mkdir -p "$root$path"
    share "$tag" "$root$path" || fail "the volume $path could not be mounted"
done < /control/volumes
: > $root/dev/busybox
mount --bind /bin/busybox $root/dev/busybox

# Waits $1 seconds without a process of its own, which would cost much where the machine is emulated: nothing is ever
# written to this pipe.
mkfifo /silence
wait_seconds() { read -r -t "$1" nothing 8<> /silence <&8; }

# Writes the value of the first line of /proc/meminfo that is named $1 to $value, without a process of its own.
memory() {
    while read -r name value unit; do
        [ "$name" = "$1:" ] && return
    done < /proc/meminfo
}
memory MemTotal
total=$value

# Keeps in /least the least memory that was available since that file was removed.
watch() {
    while :; do
        memory MemAvailable
        [ -s /least ] && read -r least < /least || least=$total
        [ "$value" -lt "$least" ] && echo "$value" > /least
        wait_seconds 0.1
    done
}
watch &

run() {
    rm -f /least
    chroot $root /dev/busybox ash -c "$(cat "/control/program-$1")" \
        < /dev/null > "/control/stdout-$1" 2> "/control/stderr-$1" 3> "/control/errno-$1"
    status=$?
    [ -s /least ] && read -r least < /least || { memory MemAvailable; least=$value; }
    used=$(df -k /overlay | tail -n 1 | { read -r device size used rest; echo "$used"; })
    echo "$status $least $total $used" > "/control/status-$1.new"
    mv "/control/status-$1.new" "/control/status-$1"
}

: > /control/ready
number=0
while :; do
    if [ -e "/control/program-$number" ]; then
        run "$number" &
        number=$((number + 1))
    else
        wait_seconds 0.1
    fi
done
