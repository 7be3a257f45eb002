// SPDX-License-Identifier: GPL-2.0
/*
 * A live patch that everybody can see: /proc/version says that it is there. It shows how a patch is
 * made: the whole function anew under another name, and a table that says which one it replaces.
 *
 * Source: Documentation/livepatch/livepatch.rst; fs/proc/version.c.
 */
#include <linux/kernel.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/utsname.h>

static int marked_version_proc_show(struct seq_file *file, void *unused)
{
	const struct new_utsname *name = utsname();

	seq_printf(file, "%s version %s %s, live patch version_mark\n", name->sysname, name->release,
		   name->version);
	return 0;
}

static struct klp_func functions[] = {
	{
		.old_name = "version_proc_show",
		.new_func = marked_version_proc_show,
	},
	{}
};

static struct klp_object objects[] = {
	{
		/* Without a name: the kernel itself. */
		.funcs = functions,
	},
	{}
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objects,
};

static int __init begin(void)
{
	return klp_enable_patch(&patch);
}

/* The kernel calls it only once the patch was withdrawn and nobody runs in it any more. */
static void __exit end(void)
{
}

module_init(begin);
module_exit(end);
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
MODULE_DESCRIPTION("Marks /proc/version");
